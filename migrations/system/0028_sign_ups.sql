-- The accepted sign-ups of the last hour. All control planes count them against SIGNUPS_PER_HOUR and
-- SIGNUPS_PER_ADDRESS_PER_HOUR. A sign-up removes the rows that have ceased to count.
--
-- While an upgrade is under way, a control plane of the version before counts its own sign-ups only.
CREATE TABLE IF NOT EXISTS saas_sign_ups (
    sign_up_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    address VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Of IPv4, or a /64 network of IPv6',
    accepted_at DATETIME(6) NOT NULL,
    INDEX idx_accepted_at (accepted_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Accepted sign-ups of the last hour';
