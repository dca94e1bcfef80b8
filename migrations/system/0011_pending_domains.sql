-- Domains that serve once their DNS shows that they are the tenant's. Folded from events, like saas_tenant_domains; several
-- tenants may ask for one domain, the first who proves it has it.
CREATE TABLE IF NOT EXISTS saas_pending_domains (
    domain VARCHAR(100) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Normal form: A-labels, lower case',
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    challenge VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Value of the TXT record; no secret',
    expires_at DATETIME(6) NOT NULL COMMENT 'UTC; then it is forgotten',
    position BIGINT UNSIGNED NOT NULL COMMENT 'Event that asked for it',
    PRIMARY KEY (domain, tenant_id),
    INDEX idx_tenant (tenant_id),
    INDEX idx_expires (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Domains whose ownership is not proven yet';
