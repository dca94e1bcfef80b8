-- Names this installation in the ownership mark of every tenant database: two installations that share a database
-- server (staging and production, say) never take each other's databases for their own.
INSERT INTO saas_system_config (config_key, config_value, config_type, description) VALUES
('system.installation_id', UUID(), 'string', '安装标识，写入每个租户库的归属标记')
ON DUPLICATE KEY UPDATE config_key = saas_system_config.config_key;
