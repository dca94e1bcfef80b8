-- Jobs that bring tenants to a newer schema are left to workers that know it.

SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_operations ADD COLUMN schema_version INT UNSIGNED NULL COMMENT ''Only workers that know this tenant schema take it; NULL: any''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_operations' AND COLUMN_NAME = 'schema_version');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;
