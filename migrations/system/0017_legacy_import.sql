-- How far the move from the old single database has come, so that whoever is killed in the middle can go on.

-- One row: an installation has one old database.
CREATE TABLE IF NOT EXISTS saas_legacy_import (
    id TINYINT UNSIGNED NOT NULL PRIMARY KEY COMMENT 'Always 1',
    source VARCHAR(300) NOT NULL COMMENT 'host:port/database it comes from',
    generation VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Schema of the source',
    unmapped VARCHAR(8) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'carry, leave: tables the new schema does not have',
    state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'importing, imported, cut_over, rolling_back, rolled_back',
    run INT UNSIGNED NOT NULL COMMENT 'Attempts of the import so far; each reads a snapshot of its own',
    started_at DATETIME(6) NOT NULL,
    imported_at DATETIME(6) NULL,
    synced_at DATETIME(6) NULL COMMENT 'Begin of the snapshot of the newest complete synchronisation',
    cut_over_at DATETIME(6) NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'The move from the old database';

CREATE TABLE IF NOT EXISTS saas_legacy_tables (
    source_table VARCHAR(64) NOT NULL PRIMARY KEY,
    last_key VARCHAR(40) CHARACTER SET ascii COLLATE ascii_general_ci NULL COMMENT 'Rows up to here are copied; NULL: none',
    complete TINYINT NOT NULL DEFAULT 0 COMMENT '1: all of them are',
    first_run INT UNSIGNED NOT NULL COMMENT 'Run that copied its first rows',
    last_run INT UNSIGNED NOT NULL COMMENT 'Run whose snapshot all of its rows were last seen equal to, or that copies it',
    copied_rows BIGINT UNSIGNED NOT NULL DEFAULT 0,
    newest_key VARCHAR(40) CHARACTER SET ascii COLLATE ascii_general_ci NULL COMMENT 'Highest key the source may have given; rows beyond it were written by others',
    cut_over_rows BIGINT UNSIGNED NULL COMMENT 'Of the source at the cut-over',
    cut_over_checksum VARCHAR(100) CHARACTER SET ascii COLLATE ascii_general_ci NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Tables of the old database, and how far each has come';
