-- The rights of data nodes to write to the system database: their own position, the expiry of sessions, and the access
-- log. Run this file after `control-plane migrate`, which creates the tables; you may run it again. In a grant on a
-- single table the server takes the name of the database literally, so no underscore is escaped here.

GRANT INSERT, UPDATE, DELETE ON `ai_shifu_system`.`saas_nodes` TO 'node'@'@HOST@';
GRANT UPDATE (token_expired_at) ON `ai_shifu_system`.`user_token` TO 'node'@'@HOST@';
GRANT INSERT ON `ai_shifu_system`.`saas_access_logs` TO 'node'@'@HOST@';
