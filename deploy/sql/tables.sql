-- The rights of the services on single tables of the system database. Run this file after every `control-plane
-- migrate`, which creates the tables; you may run it again. In a grant on a single table the server takes the name of
-- the database literally, so no underscore is escaped there.

-- The control plane and the provisioners read all tables and add rows to them (system.sql). They change rows of these
-- tables. `saas_events` is not among them: no service changes or removes an event.
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_access_logs`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_admin_tokens`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_audit_findings`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_audit_jobs`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_audits`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_backup_jobs`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_backups`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_changes`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_collection_failures`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_collections`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_daily_statistics`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_database_servers`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_encryption_counts`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_event_traces`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_heads`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_health_rounds`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_idempotency_keys`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_leases`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_legacy_import`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_legacy_ranges`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_legacy_tables`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_live_statistics`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_next_credentials`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_nodes`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_operation_steps`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_operations`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_pending_domains`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_plans`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_reservations`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_schedule_runs`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_schedules`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_served_tenants`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_server_objects`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_sign_ups`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_storage_measurements`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_system_config`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_daily_statistics`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_databases`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_domains`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_health`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_settings`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_snapshots`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_storage`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenant_users`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`saas_tenants`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`user_conversion`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`user_info`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`user_token`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT UPDATE, DELETE ON `ai_shifu_system`.`user_verify_code`
    TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';

-- Data nodes read what they route and admit by. They do not read sealed answers, administrators' tokens, settings of
-- tenants, or credentials of a rotation.
GRANT SELECT ON `ai_shifu_system`.`saas_changes` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_events` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_heads` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_nodes` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_plans` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_schema_migrations` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_system_config` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_tenant_databases` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_tenant_domains` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_tenant_snapshots` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_tenant_users` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`saas_tenants` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`user_info` TO 'node'@'@HOST@';
GRANT SELECT ON `ai_shifu_system`.`user_token` TO 'node'@'@HOST@';

-- They write their own position, which tenants they served, the expiry of sessions, and the access log.
GRANT INSERT, UPDATE, DELETE ON `ai_shifu_system`.`saas_nodes` TO 'node'@'@HOST@';
GRANT SELECT, INSERT, UPDATE ON `ai_shifu_system`.`saas_served_tenants` TO 'node'@'@HOST@';
GRANT UPDATE (token_expired_at) ON `ai_shifu_system`.`user_token` TO 'node'@'@HOST@';
GRANT INSERT ON `ai_shifu_system`.`saas_access_logs` TO 'node'@'@HOST@';

-- Earlier versions of these files granted rights on the whole database. A right that is not there cannot be revoked, so
-- it is granted first.
GRANT UPDATE, DELETE ON `ai\_shifu\_system`.* TO 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
REVOKE UPDATE, DELETE ON `ai\_shifu\_system`.* FROM 'control'@'@HOST@', 'provisioner_system'@'@HOST@';
GRANT SELECT ON `ai\_shifu\_system`.* TO 'node'@'@HOST@';
REVOKE SELECT ON `ai\_shifu\_system`.* FROM 'node'@'@HOST@';
