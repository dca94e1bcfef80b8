-- From 2025-09-23 to 2025-11-03: outline items hold their content themselves, structs outgrow TEXT, users are split into
-- a person and the ways to log in.
ALTER TABLE shifu_draft_outline_items ADD COLUMN content LONGTEXT NOT NULL COMMENT 'MarkdownFlow content' AFTER ask_llm_system_prompt;
ALTER TABLE shifu_published_outline_items ADD COLUMN content LONGTEXT NOT NULL COMMENT 'MarkdownFlow content' AFTER ask_llm_system_prompt;
ALTER TABLE shifu_log_draft_structs MODIFY COLUMN struct LONGTEXT NOT NULL COMMENT 'JSON serialized shifu struct';
ALTER TABLE shifu_log_published_structs MODIFY COLUMN struct LONGTEXT NOT NULL COMMENT 'JSON serialized struct of published shifu';

CREATE TABLE user_users (
    id BIGINT NOT NULL AUTO_INCREMENT COMMENT 'Unique ID',
    user_bid VARCHAR(32) NOT NULL COMMENT 'User business identifier',
    user_identify VARCHAR(255) NOT NULL COMMENT 'User identifier: phone or email',
    nickname VARCHAR(255) NOT NULL COMMENT 'User nickname',
    avatar VARCHAR(255) NOT NULL COMMENT 'User avatar',
    birthday DATE NULL COMMENT 'User birthday',
    language VARCHAR(30) NOT NULL COMMENT 'User language',
    state INT NOT NULL COMMENT 'User state: 1101=unregistered, 1102=registered, 1103=trail, 1104=paid',
    deleted SMALLINT NOT NULL COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL COMMENT 'Creation timestamp',
    updated_at DATETIME NOT NULL COMMENT 'Last update timestamp',
    PRIMARY KEY (id),
    KEY ix_user_users_user_bid (user_bid),
    KEY ix_user_users_user_identify (user_identify),
    KEY ix_user_users_state (state),
    KEY ix_user_users_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE user_auth_credentials (
    id BIGINT NOT NULL AUTO_INCREMENT COMMENT 'Unique ID',
    credential_bid VARCHAR(32) NOT NULL COMMENT 'Credential business identifier',
    user_bid VARCHAR(32) NOT NULL COMMENT 'User business identifier',
    provider_name VARCHAR(255) NOT NULL COMMENT 'Provider name',
    subject_id VARCHAR(255) NOT NULL COMMENT 'Subject id',
    subject_format VARCHAR(255) NOT NULL COMMENT 'Subject format',
    identifier VARCHAR(255) NOT NULL COMMENT 'Identifier',
    raw_profile TEXT NOT NULL COMMENT 'Raw profile',
    state INT NOT NULL COMMENT 'Credential state: 1201=unverified, 1202=verified',
    deleted SMALLINT NOT NULL COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL COMMENT 'Creation timestamp',
    updated_at DATETIME NOT NULL COMMENT 'Last update timestamp',
    PRIMARY KEY (id),
    KEY ix_user_auth_credentials_credential_bid (credential_bid),
    KEY ix_user_auth_credentials_user_bid (user_bid),
    KEY ix_user_auth_credentials_state (state),
    KEY ix_user_auth_credentials_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
