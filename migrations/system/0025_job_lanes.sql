-- What a claim of a job needs, in indexes: the lane that the job waits in, when a worker may take it, and which tenants are worked on.

-- The database computes two of the columns from others, so an older program that runs beside a newer one writes them right without
-- knowing them. An older control plane enqueues every job in the lane 'ordinary', whose workers take jobs of any kind. Workers of an
-- older program take jobs of every lane by their kind. MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_columns = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_operations
             ADD COLUMN lane VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL DEFAULT ''ordinary''
                 COMMENT ''Which workers take it: access, ordinary, long, bulk, migrations, backups, collections'',
             ADD COLUMN due_at DATETIME(6)
                 GENERATED ALWAYS AS (IF(status = ''pending'' OR status = ''running'',
                     GREATEST(next_attempt_at, COALESCE(lease_until, next_attempt_at)), NULL)) STORED
                 COMMENT ''From when on a worker may take it; NULL: it has ended'',
             ADD COLUMN busy_tenant VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci
                 GENERATED ALWAYS AS (IF(status = ''running'' AND lease_until IS NOT NULL AND tenant_id <> '''', tenant_id, NULL)) STORED
                 COMMENT ''Its tenant while a worker has it'',
             ADD INDEX idx_claim (server_id, lane, due_at),
             ADD INDEX idx_open (due_at),
             ADD INDEX idx_busy (busy_tenant, lease_until),
             ADD INDEX idx_finished (finished_at, status)', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_operations' AND COLUMN_NAME = 'lane');
PREPARE add_columns FROM @add_columns;
EXECUTE add_columns;
DEALLOCATE PREPARE add_columns;

-- Jobs that wait already go to the lanes of their kinds. Repeated, it changes only what an older program has enqueued since.
UPDATE saas_operations SET lane = CASE
        WHEN kind = 'enforce' THEN 'access'
        WHEN kind IN ('purge', 'move', 'restore', 'restore_new', 'restore_elsewhere') THEN 'long'
        WHEN kind = 'audit' THEN 'bulk'
        WHEN kind = 'migrate' THEN 'migrations'
        WHEN kind IN ('backup', 'restore_test') THEN 'backups'
        WHEN kind = 'collect' THEN 'collections'
        ELSE lane END
    WHERE lane = 'ordinary' AND status IN ('pending', 'running');
