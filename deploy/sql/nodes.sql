-- What data nodes write in the system database: where they stand, when sessions end, the access log. Run after
-- `control-plane migrate`, which makes the tables; it may be run again. In a grant on one table the database's name is
-- taken as it is, so nothing is escaped here.

GRANT INSERT, UPDATE, DELETE ON `ai_shifu_system`.`saas_nodes` TO 'node'@'@HOST@';
GRANT UPDATE (token_expired_at) ON `ai_shifu_system`.`user_token` TO 'node'@'@HOST@';
GRANT INSERT ON `ai_shifu_system`.`saas_access_logs` TO 'node'@'@HOST@';
