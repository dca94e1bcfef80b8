-- The 9 tables of the system database, column for column those of the design (section 2.2).
-- It is valid for no server as written. What differs here, marked at its place where that is not everywhere:
-- * IF NOT EXISTS: the file may run again.
-- * ENGINE, CHARSET and COLLATE are spelled out: the default of a server may be latin1, or sort otherwise.
-- * An INDEX inside a column definition is no SQL: it stands as INDEX idx_<column>, or is dropped if a key covers it.
-- * TEXT has DEFAULT (''): MySQL takes a default for TEXT as an expression only, MariaDB takes both.

-- 1. Users
CREATE TABLE IF NOT EXISTS user_info (
    id BIGINT PRIMARY KEY AUTO_INCREMENT COMMENT 'Unique ID',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User UUID',
    username VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Login username',
    name VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'User real name',
    email VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Email',
    mobile VARCHAR(20) NOT NULL DEFAULT '' COMMENT 'Mobile',
    created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    user_state INTEGER DEFAULT 0 COMMENT 'User state',
    user_sex INTEGER DEFAULT 0 COMMENT 'User sex',
    -- The date in its full form, in the seed it is 2003-1-1.
    user_birth DATE DEFAULT '2003-01-01' COMMENT 'User birth',
    user_avatar VARCHAR(255) DEFAULT '' COMMENT 'User avatar',
    user_open_id VARCHAR(255) DEFAULT '' COMMENT 'User open id',
    user_unicon_id VARCHAR(255) DEFAULT '' COMMENT 'User unicon id',
    user_language VARCHAR(30) DEFAULT 'zh-CN' COMMENT 'User language',
    is_admin BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'Is admin',
    is_creator BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'Is creator',
    extra_data TEXT DEFAULT ('') COMMENT 'Extra data',
    INDEX idx_user_id (user_id),
    INDEX idx_mobile (mobile),
    INDEX idx_user_open_id (user_open_id),
    INDEX idx_user_unicon_id (user_unicon_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

-- 2. Sessions, verification codes, conversions
CREATE TABLE IF NOT EXISTS user_token (
    id BIGINT PRIMARY KEY AUTO_INCREMENT COMMENT 'Unique ID',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User UUID',
    token VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Token',
    token_type INTEGER NOT NULL DEFAULT 0 COMMENT 'Token type',
    -- NULL spelled out: whether a bare TIMESTAMP may be null depends on the version and on explicit_defaults_for_timestamp.
    token_expired_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Token expired time',
    created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    -- Ours: sessions are looked up by token, for which the seed has no index.
    INDEX idx_token (token)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS user_verify_code (
    id BIGINT PRIMARY KEY AUTO_INCREMENT COMMENT 'Unique ID',
    phone VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User phone',
    mail VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User mail',
    verify_code VARCHAR(10) NOT NULL DEFAULT '' COMMENT 'Verify code',
    verify_code_type INTEGER NOT NULL DEFAULT 0 COMMENT 'Verify code type',
    verify_code_send INTEGER NOT NULL DEFAULT 0 COMMENT 'Verification code send state',
    verify_code_used INTEGER NOT NULL DEFAULT 0 COMMENT 'Verification code used state',
    user_ip VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'User ip',
    created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS user_conversion (
    id BIGINT PRIMARY KEY AUTO_INCREMENT COMMENT 'Unique ID',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User UUID',
    conversion_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Conversion UUID',
    -- A string as the default of a string, in the seed it is the number 0.
    conversion_source VARCHAR(36) NOT NULL DEFAULT '0' COMMENT 'Conversion type',
    conversion_status INTEGER NOT NULL DEFAULT 0 COMMENT 'Conversion state',
    conversion_uuid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Conversion UUID',
    conversion_third_platform VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Conversion third platform',
    created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

-- 3. Tenants
-- Inline INDEX of the seed on tenant_id, deleted dropped: covered by idx_deleted and the UNIQUE key.
-- idx_domain repeats the UNIQUE key of tenant_domain. Kept, because the seed names it.
CREATE TABLE IF NOT EXISTS saas_tenants (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    tenant_id VARCHAR(32) NOT NULL UNIQUE COMMENT '租户唯一标识',
    tenant_name VARCHAR(100) NOT NULL COMMENT '租户名称',
    tenant_domain VARCHAR(100) UNIQUE COMMENT '租户域名',
    database_name VARCHAR(100) NOT NULL COMMENT '租户数据库名',
    database_host VARCHAR(200) DEFAULT 'localhost' COMMENT '数据库主机',
    database_port INT DEFAULT 3306 COMMENT '数据库端口',
    status SMALLINT NOT NULL DEFAULT 1 COMMENT '状态: 0=停用, 1=正常, 2=维护',
    plan_type VARCHAR(50) DEFAULT 'basic' COMMENT '套餐类型',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    deleted SMALLINT NOT NULL DEFAULT 0,
    INDEX idx_domain (tenant_domain),
    INDEX idx_status (status),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT '租户信息表';

-- 4. Members of tenants
-- Inline INDEX of the seed on tenant_id, user_id dropped: covered by idx_tenant and idx_user.
-- idx_tenant is a prefix of uk_tenant_user. Kept, because the seed names it.
CREATE TABLE IF NOT EXISTS saas_tenant_users (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    tenant_id VARCHAR(32) NOT NULL COMMENT '租户标识',
    user_id VARCHAR(36) NOT NULL COMMENT '用户UUID (关联user_info.user_id)',
    role VARCHAR(50) DEFAULT 'user' COMMENT '用户在租户中的角色: admin, user, viewer',
    permissions JSON COMMENT '权限配置',
    status SMALLINT NOT NULL DEFAULT 1 COMMENT '状态: 0=停用, 1=正常',
    joined_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT '加入时间',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    deleted SMALLINT NOT NULL DEFAULT 0,
    UNIQUE KEY uk_tenant_user (tenant_id, user_id, deleted),
    INDEX idx_tenant (tenant_id),
    INDEX idx_user (user_id),
    INDEX idx_role (role),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT '租户用户关联表';

-- 5. System settings
-- Inline INDEX of the seed on config_key dropped: covered by the UNIQUE key.
CREATE TABLE IF NOT EXISTS saas_system_config (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    config_key VARCHAR(100) NOT NULL UNIQUE COMMENT '配置键',
    config_value TEXT COMMENT '配置值',
    config_type VARCHAR(20) DEFAULT 'string' COMMENT '配置类型: string, json, number, boolean',
    description VARCHAR(200) COMMENT '配置描述',
    is_public TINYINT DEFAULT 0 COMMENT '是否公开配置',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT '系统配置表';

-- 6. Connection of each tenant to its database
-- Inline INDEX of the seed on tenant_id dropped: covered by uk_tenant_db.
CREATE TABLE IF NOT EXISTS saas_tenant_databases (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    tenant_id VARCHAR(32) NOT NULL COMMENT '租户标识',
    db_type VARCHAR(20) DEFAULT 'mysql' COMMENT '数据库类型',
    db_host VARCHAR(200) NOT NULL COMMENT '数据库主机',
    db_port INT NOT NULL DEFAULT 3306 COMMENT '数据库端口',
    db_name VARCHAR(100) NOT NULL COMMENT '数据库名',
    db_username VARCHAR(100) NOT NULL COMMENT '数据库用户名',
    db_password_encrypted TEXT NOT NULL COMMENT '加密的数据库密码',
    max_connections INT DEFAULT 20 COMMENT '最大连接数',
    is_active TINYINT NOT NULL DEFAULT 1 COMMENT '是否激活',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    UNIQUE KEY uk_tenant_db (tenant_id),
    INDEX idx_active (is_active)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT '租户数据库配置表';

-- 7. Access log
-- idx_tenant_id and idx_user_id are prefixes of the time keys. Kept, because the seed asks for them.
CREATE TABLE IF NOT EXISTS saas_access_logs (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    tenant_id VARCHAR(32) COMMENT '租户标识',
    user_id VARCHAR(36) COMMENT '用户标识',
    request_id VARCHAR(36) COMMENT '请求ID',
    method VARCHAR(10) COMMENT '请求方法',
    path VARCHAR(500) COMMENT '请求路径',
    status_code INT COMMENT '响应状态码',
    response_time INT COMMENT '响应时间(ms)',
    ip_address VARCHAR(45) COMMENT 'IP地址',
    user_agent TEXT COMMENT 'User Agent',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    INDEX idx_tenant_time (tenant_id, created_at),
    INDEX idx_user_time (user_id, created_at),
    INDEX idx_request_time (created_at),
    INDEX idx_request_id (request_id),
    INDEX idx_tenant_id (tenant_id),
    INDEX idx_user_id (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'API访问日志表';

-- The settings of the seed. Running again changes no value that an operator has set.
-- Ours: routing.unknown_host, as the seed leaves open what answers for a host nobody owns.
-- The row of the default tenant is not written here: an ordinary command creates that tenant, with its events and its database.
INSERT INTO saas_system_config (config_key, config_value, config_type, description) VALUES
('system.default_tenant', 'default', 'string', '默认租户ID'),
('system.multi_tenant_enabled', 'true', 'boolean', '是否启用多租户'),
('system.tenant_signup_enabled', 'false', 'boolean', '是否允许租户自助注册'),
('database.default_max_connections', '50', 'number', '数据库默认最大连接数'),
('routing.unknown_host', 'default', 'string', '未知域名的处理方式: default, reject')
ON DUPLICATE KEY UPDATE config_key = config_key;
