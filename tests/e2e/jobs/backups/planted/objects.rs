//! The objects that the tests plant, and the global values of a server that no copy may depend on.

use harness::servers::mysql;

/// Which servers have a case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum On {
    Both,
    MariaDb,
    MySql,
}

impl On {
    pub fn here(self) -> bool {
        self == Self::Both || (self == Self::MySql) == mysql::selected().is_some()
    }
}

/// Cases that come back: a tenant's id, and the statements that plant them.
pub const COMES_BACK: [(&str, On, &[&str]); 13] = [
    (
        "names",
        On::Both,
        &[
            "CREATE TABLE orders__rebuild (id INT PRIMARY KEY, b TEXT); INSERT INTO orders__rebuild VALUES (1, 'a'), (2, 'b')",
            "CREATE TABLE _restoring (id INT PRIMARY KEY); INSERT INTO _restoring VALUES (1), (2), (3)",
            "CREATE TABLE _objects (number INT, object TEXT); INSERT INTO _objects VALUES (0, ''), (1, 'x')",
            "CREATE VIEW upon AS SELECT * FROM _objects",
        ],
    ),
    (
        "charsets",
        On::Both,
        &[
            "CREATE TABLE foreign_text (id INT PRIMARY KEY, g VARCHAR(20) CHARACTER SET gbk, c TEXT CHARACTER SET cp932,
                 l VARCHAR(20) CHARACTER SET latin2, u VARCHAR(20) CHARACTER SET ucs2, e ENUM('男','女') CHARACTER SET gbk)",
            "INSERT INTO foreign_text VALUES (1, X'A2E3', X'8790', X'80', X'0041', '男'), (2, X'A6D9', X'81E0', X'A5', X'20AC', '女'),
                 (3, X'C4D0', X'FA4A', '', NULL, NULL), (4, '', X'8754', 'x', '', NULL)",
            "CREATE TABLE foreign_keyless (c VARCHAR(20) CHARACTER SET cp932); INSERT INTO foreign_keyless VALUES (X'8790'), (X'81E0')",
        ],
    ),
    (
        "timestamps",
        On::Both,
        &[
            "SET SESSION explicit_defaults_for_timestamp = 1; SET SESSION sql_mode = ''",
            "CREATE TABLE bare (id INT PRIMARY KEY, a TIMESTAMP NOT NULL, b TIMESTAMP NOT NULL, c TIMESTAMP NULL)",
            "INSERT INTO bare VALUES (1, '2001-02-03 04:05:06', '2001-02-03 04:05:07', NULL)",
            "SET SESSION explicit_defaults_for_timestamp = 0",
            "CREATE TABLE old (id INT PRIMARY KEY, a TIMESTAMP, b TIMESTAMP); INSERT INTO old VALUES (1, '2001-02-03 04:05:06', 0)",
        ],
    ),
    (
        "floats",
        On::Both,
        &[
            "CREATE TABLE zeros (id INT PRIMARY KEY, d DOUBLE, f FLOAT, fixed FLOAT(7,2), wide DOUBLE)",
            "INSERT INTO zeros VALUES (1, '-0', '-0', '-0', -1e-330), (2, 0, 0, 0, 0), (3, -0.1, 16777217, -1.25, 1.7976931348623157e308)",
        ],
    ),
    (
        "generated",
        On::MariaDb,
        &[
            "SET SESSION sql_mode = ''",
            "CREATE TABLE computed (id INT PRIMARY KEY, a INT, b TINYINT AS (a * 100) STORED, c INT AS (1 / a) VIRTUAL,
                 d VARCHAR(3) AS (CONCAT(id, 'abcdef')) STORED)",
            "INSERT INTO computed (id, a) VALUES (1, 5), (2, 0), (3, NULL)",
            "CREATE TABLE only_computed (a INT AS (5) VIRTUAL, b INT AS (a + 1) STORED)",
            "INSERT INTO only_computed VALUES (), (), ()",
        ],
    ),
    (
        "lenient",
        On::Both,
        &[
            "SET SESSION innodb_strict_mode = 0",
            "CREATE TABLE odd_options (id INT PRIMARY KEY, b TEXT) ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=4; INSERT INTO odd_options VALUES (1, 'x')",
            "CREATE TABLE wide_row (a1 VARCHAR(1000), a2 VARCHAR(1000), a3 VARCHAR(1000), a4 VARCHAR(1000), a5 VARCHAR(1000), a6 VARCHAR(1000),
                 a7 VARCHAR(1000), a8 VARCHAR(1000), a9 VARCHAR(1000), a10 VARCHAR(1000), a11 VARCHAR(1000), a12 VARCHAR(1000))
                 CHARSET utf8mb4 ROW_FORMAT=REDUNDANT",
            "INSERT INTO wide_row (a1, a12) VALUES ('x', 'y')",
        ],
    ),
    (
        "remarks",
        On::Both,
        &[
            "CREATE FUNCTION remarked() RETURNS INT DETERMINISTIC BEGIN -- was in ai_shifu_tenant_elsewhere once
                 /* ai_shifu_tenant_other.t */ # ai_shifu_tenant_third
                 RETURN 1; END",
        ],
    ),
    (
        "engines",
        On::Both,
        &[
            "CREATE TABLE old_engine (id INT PRIMARY KEY AUTO_INCREMENT, b TEXT) ENGINE=MyISAM; INSERT INTO old_engine (b) VALUES ('a'), ('b')",
            "CREATE TABLE in_memory (id INT) ENGINE=MEMORY; INSERT INTO in_memory VALUES (1), (1)",
        ],
    ),
    (
        "checks",
        On::MariaDb,
        &[
            "SET SESSION check_constraint_checks = 0",
            "CREATE TABLE checked (id INT PRIMARY KEY, v INT CHECK (v > 0)); INSERT INTO checked VALUES (1, -1), (2, 1)",
            "CREATE TABLE aria (id INT, b VARCHAR(10)) ENGINE=Aria; INSERT INTO aria VALUES (1, 'x')",
        ],
    ),
    (
        "unharmed",
        On::Both,
        &[
            "SET SESSION foreign_key_checks = 0",
            "CREATE TABLE ring_a (id INT PRIMARY KEY, b INT, FOREIGN KEY (b) REFERENCES ring_b (id))",
            "CREATE TABLE ring_b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES ring_a (id))",
            "INSERT INTO ring_a VALUES (1, 1), (2, 9); INSERT INTO ring_b VALUES (1, 1)",
            "CREATE TABLE places (id INT PRIMARY KEY, p GEOMETRY NOT NULL)",
            "INSERT INTO places VALUES (1, ST_GeomFromText('POINT(1 2)', 4326)), (2, ST_GeomFromText('LINESTRING(0 0,1 1)'))",
            "CREATE TABLE zero_ids (id INT PRIMARY KEY AUTO_INCREMENT); SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
            "INSERT INTO zero_ids VALUES (0), (-1), (5)",
        ],
    ),
    (
        "identifiers",
        On::Both,
        &[
            "CREATE TABLE `two\nlines;\n-- x` (`a\nb` INT PRIMARY KEY, `it's \"q\" ``b``` TEXT COMMENT 'two\nlines; it''s', `c\r\nd` INT DEFAULT 5,
                 KEY `k\n1` (`c\r\nd`)) COMMENT 'a\n-- b'",
            "INSERT INTO `two\nlines;\n-- x` VALUES (1, 'x\ny', 2), (2, ';\n-- z', 3)",
            "CREATE VIEW `v\nw` AS SELECT `a\nb` FROM `two\nlines;\n-- x`",
            "CREATE TABLE `-- object` (`-- statement` INT, `学` INT); INSERT INTO `-- object` VALUES (1, 2)",
        ],
    ),
    (
        "keys",
        On::MySql,
        &[
            "CREATE TABLE functional (id INT PRIMARY KEY, a INT, UNIQUE KEY f ((a + 1)), KEY g ((ABS(a))))",
            "INSERT INTO functional VALUES (1, 1), (2, 2)",
            "SET SESSION sql_generate_invisible_primary_key = 1",
            "CREATE TABLE hidden_key (b INT); INSERT INTO hidden_key VALUES (1), (1)",
            "SET SESSION sql_generate_invisible_primary_key = 0",
            "CREATE TABLE no_key (b INT); INSERT INTO no_key VALUES (1), (1)",
        ],
    ),
    // A move refuses events, so this one is the last.
    (
        "events",
        On::Both,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)",
            "CREATE EVENT ends ON SCHEDULE EVERY 1 HOUR ENDS CURRENT_TIMESTAMP + INTERVAL 3 SECOND DO DELETE FROM t",
            "CREATE EVENT once ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL 3 SECOND DO DELETE FROM t",
            "CREATE EVENT `stays ON COMPLETION` ON SCHEDULE EVERY 1 HOUR ENDS CURRENT_TIMESTAMP + INTERVAL 3 SECOND
                 ON COMPLETION PRESERVE DO DELETE FROM t",
        ],
    ),
];

/// Cases that a backup and a move refuse: the statements that plant them, what removes them, and the names that the
/// error gives.
pub const REFUSED_BY_NAME: [(On, &str, &str, &[&str]); 8] = [
    (
        On::Both,
        "CREATE TABLE outward (id INT PRIMARY KEY, o INT, FOREIGN KEY (o) REFERENCES ai_shifu_tenant_default.nothing (id))",
        "DROP TABLE outward",
        &["outward", "ai_shifu_tenant_default"],
    ),
    (On::MariaDb, "CREATE TABLE _ownership (id INT)", "DROP TABLE _ownership", &["_ownership"]),
    (
        On::Both,
        "CREATE FUNCTION nosy() RETURNS INT DETERMINISTIC RETURN (SELECT 1 FROM ai_shifu_tenant_default.tenant_config LIMIT 1)",
        "DROP FUNCTION nosy",
        &["nosy", "ai_shifu_tenant_default"],
    ),
    (
        On::Both,
        "CREATE TABLE m1 (id INT) ENGINE=MyISAM; CREATE TABLE merged (id INT) ENGINE=MERGE UNION=(m1)",
        "DROP TABLE merged, m1",
        &["merged", "MRG_MyISAM"],
    ),
    (
        On::MariaDb,
        "CREATE TABLE unsayable (id INT, e ENUM(X'A2E3') CHARACTER SET gbk)",
        "DROP TABLE unsayable",
        &["unsayable", "e", "gbk"],
    ),
    (
        On::MariaDb,
        "CREATE TABLE unsaid (id INT, d VARCHAR(9) CHARACTER SET gbk DEFAULT X'A2E3')",
        "DROP TABLE unsaid",
        &["unsaid.d", "gbk"],
    ),
    (On::MariaDb, "CREATE SEQUENCE next_one", "DROP SEQUENCE next_one", &["next_one"]),
    (
        On::MySql,
        "CREATE TABLE documents (id INT PRIMARY KEY, j JSON); INSERT INTO documents VALUES (1, '{}'), (7, JSON_OBJECT('a', CAST('2020-01-01' AS DATE)))",
        "DROP TABLE documents",
        &["documents", "j"],
    ),
];

/// Global values that the session of no copy may depend on.
pub const HOSTILE: &[&str] = &[
    "autocommit = 0",
    "completion_type = 1",
    "sql_select_limit = 1",
    "sql_safe_updates = 1",
    "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,PAD_CHAR_TO_FULL_LENGTH,STRICT_ALL_TABLES'",
    "time_zone = '-07:00'",
    "sql_quote_show_create = 0",
    "unique_checks = 0",
    "max_join_size = 1",
    "character_set_results = 'latin1'",
    "character_set_client = 'latin1'",
    "div_precision_increment = 0",
    "foreign_key_checks = 1",
];

pub const HOSTILE_MARIADB: &[&str] = &[
    "tx_read_only = 1",
    "max_statement_time = 0.5",
    "explicit_defaults_for_timestamp = 0",
    "idle_transaction_timeout = 1",
    "idle_readonly_transaction_timeout = 1",
    "idle_write_transaction_timeout = 1",
    "sql_if_exists = 1",
    "alter_algorithm = 'INSTANT'",
    "innodb_strict_mode = 1",
];

pub const HOSTILE_MYSQL: &[&str] = &["transaction_read_only = 1", "max_execution_time = 500"];
