-- What the newest pass of the move from the old database has written, and whether a command of it has shut the default
-- tenant.

-- A range of keys ends with `to_key` and begins after that of the range before it. Content of the new system that is
-- neither of the two sums was written by others, and no ordinary pass writes there. `next` is what the pass that is at
-- work is about to write: a killed pass has left either content.
CREATE TABLE IF NOT EXISTS saas_legacy_ranges (
    source_table VARCHAR(64) NOT NULL,
    position INT UNSIGNED NOT NULL COMMENT 'From 0, in the order of the keys',
    to_key VARCHAR(40) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Last key of the range',
    written_rows BIGINT UNSIGNED NOT NULL,
    written_checksum VARCHAR(40) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    next_rows BIGINT UNSIGNED NULL,
    next_checksum VARCHAR(40) CHARACTER SET ascii COLLATE ascii_general_ci NULL,
    PRIMARY KEY (source_table, position)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'What the move from the old database has written, by ranges of keys';

-- MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_legacy_import ADD COLUMN shut TINYINT NULL
             COMMENT ''A command has shut the default tenant: 1: and began its maintenance, 0: which was in maintenance; NULL: no command has''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_legacy_import' AND COLUMN_NAME = 'shut');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;
