-- Work that begins by the clock: how far each schedule has come, and what became of its runs.

INSERT INTO saas_leases (name, owner, epoch, lease_until, position) VALUES
('scheduler', '', 0, '2000-01-01 00:00:00', 0)
ON DUPLICATE KEY UPDATE name = saas_leases.name;

-- Beside the runs, so that removing old runs forgets no slot.
CREATE TABLE IF NOT EXISTS saas_schedules (
    name VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    last_slot DATETIME(6) NOT NULL COMMENT 'Slots up to here have had their run; the first time: when it was first known'
) ENGINE=InnoDB COMMENT 'Schedules of the control plane';

CREATE TABLE IF NOT EXISTS saas_schedule_runs (
    run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    schedule VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    slot DATETIME(6) NOT NULL COMMENT 'UTC; of a run that was asked for: when it was',
    requested_by VARCHAR(100) NOT NULL COMMENT 'clock, or who asked for it',
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'pending, running, succeeded, failed',
    owner VARCHAR(100) NULL COMMENT 'Process that does it, or did',
    epoch INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Of the leader that took it up last',
    attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'More than 1: leaders ended in the middle of it',
    items BIGINT UNSIGNED NULL COMMENT 'How many things it asked for or removed in its last attempt',
    error VARCHAR(1000) NULL,
    created_at DATETIME(6) NOT NULL,
    started_at DATETIME(6) NULL,
    ended_at DATETIME(6) NULL,
    UNIQUE KEY uk_slot (schedule, slot),
    INDEX idx_status (status, created_at),
    INDEX idx_ended (ended_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Runs of schedules, one for each slot';
