-- Roles of database servers beside those of the whole installation, and columns for what queries ask of a tenant's snapshot.

-- Names such as health:SERVER, where the server's id has up to 32 characters. The row of a role is made when it is first asked for.
ALTER TABLE saas_leases MODIFY name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL;

-- While an upgrade is under way, old and new workers share two kinds of work that now have a lease here:
--   Health rounds. A new worker takes the lease health:SERVER and also sets saas_health_rounds.lease_until, as an old one does,
--   and neither begins a round while that time has not passed. An old worker that was paused can still record what it found
--   or end another worker's round early, as before the upgrade: the rows are observations, which the next round replaces
--   within seconds, and nothing is decided by them.
--   Measurements of storage. Both begin one only by moving saas_storage_measurements.begun_at, so each period has one.

-- The database computes these from the snapshot: a program that does not know them writes them right all the same, and rows
-- that exist are filled by this statement. (Only `control-plane rebuild` of an older version, which writes all columns of the
-- table, is refused by the database if there is something to repair. It changes nothing then.) MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_columns = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_tenant_snapshots
             ADD COLUMN state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci
                 GENERATED ALWAYS AS (JSON_UNQUOTE(JSON_EXTRACT(snapshot, ''$.state''))) STORED COMMENT ''The state as a word'',
             ADD COLUMN schema_version INT UNSIGNED
                 GENERATED ALWAYS AS (CAST(JSON_UNQUOTE(JSON_EXTRACT(snapshot, ''$.database.schema_version'')) AS UNSIGNED)) STORED
                 COMMENT ''Of its database; 0: it has none'',
             ADD COLUMN has_database TINYINT
                 GENERATED ALWAYS AS (COALESCE(JSON_TYPE(JSON_EXTRACT(snapshot, ''$.database.host'')) = ''STRING'', 0)) STORED
                 COMMENT ''1: it was provisioned and has not been purged'',
             ADD COLUMN moving_to VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci
                 GENERATED ALWAYS AS (JSON_UNQUOTE(JSON_EXTRACT(snapshot, ''$.database.moving_to''))) STORED
                 COMMENT ''Server that its database is being moved to'',
             ADD INDEX idx_state (state)', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_tenant_snapshots' AND COLUMN_NAME = 'state');
PREPARE add_columns FROM @add_columns;
EXECUTE add_columns;
DEALLOCATE PREPARE add_columns;
