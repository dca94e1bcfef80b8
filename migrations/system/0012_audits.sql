-- Looks for drift: between what the events say and what the database servers have.

CREATE TABLE IF NOT EXISTS saas_audits (
    audit_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    requested_by VARCHAR(100) NOT NULL,
    repair TINYINT NOT NULL COMMENT '1: what is safe to repair is repaired',
    created_at DATETIME(6) NOT NULL,
    INDEX idx_created (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Audits that were asked for';

-- One job surveys each server; it asks for a job for each tenant that it is not sure of.
CREATE TABLE IF NOT EXISTS saas_audit_jobs (
    operation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    audit_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Empty: the survey of the server',
    compared INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Tenants it has compared',
    passed_over INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Tenants it did not look at, because a job of theirs was in progress',
    INDEX idx_audit (audit_id)
) ENGINE=InnoDB COMMENT 'Jobs of audits';

CREATE TABLE IF NOT EXISTS saas_audit_findings (
    audit_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Empty: of no tenant',
    kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    subject VARCHAR(150) NOT NULL COMMENT 'The thing that differs',
    detail VARCHAR(500) NOT NULL COMMENT 'How it differs; no secret',
    outcome VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'found, repaired',
    found_at DATETIME(6) NOT NULL,
    PRIMARY KEY (audit_id, server_id, tenant_id, kind, subject)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'What audits found';
