-- How many texts each key has sealed. Random nonces are safe for 2^32 texts under one key; long before, another key has
-- to take over.
CREATE TABLE IF NOT EXISTS saas_encryption_counts (
    key_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    sealed BIGINT UNSIGNED NOT NULL COMMENT 'Texts sealed with it, counted by the processes every few seconds',
    last_sealed_at DATETIME(6) NOT NULL COMMENT 'UTC; when a process last told'
) ENGINE=InnoDB COMMENT 'Use of encryption keys';
