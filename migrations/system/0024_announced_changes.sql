-- What revocations of sessions and changes of users concern, so that nodes forget just that.

-- A program that does not know this table raises the number in saas_heads without a row here. Nodes then forget
-- everything of that kind, as they did before this table. The newest 10,000 rows of each kind are stored.
CREATE TABLE IF NOT EXISTS saas_changes (
    head VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Row of saas_heads that counts it: sessions, users',
    position BIGINT UNSIGNED NOT NULL COMMENT 'What that row''s position became by this change',
    subject VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'SHA-256 of the revoked session''s token in hex, or the user''s id',
    PRIMARY KEY (head, position)
) ENGINE=InnoDB COMMENT 'What changes of sessions and users concern';
