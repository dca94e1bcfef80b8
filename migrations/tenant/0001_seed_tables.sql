-- The 21 tables of a tenant database, column for column those of the design (section 2.3).
-- It is valid for no server as written. What differs here, marked at its place where that is not everywhere:
-- * IF NOT EXISTS: the file may run again.
-- * ENGINE, CHARSET and COLLATE are spelled out: the default of a server may be latin1, or sort otherwise.
-- * An INDEX inside a column definition is no SQL: it stands as INDEX idx_<column>, or is dropped if a key covers it.
-- * TEXT has DEFAULT (''): MySQL takes a default for TEXT as an expression only, MariaDB takes both.
-- * Names that are keywords somewhere (end, filter, position, start, struct, value) are quoted.
-- The file is also cut at each semicolon: keep them out of comments and strings.

-- 1. Orders
CREATE TABLE IF NOT EXISTS order_orders (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    order_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Order business identifier',
    shifu_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User identifier (关联系统库user_info.user_id)',
    payable_price DECIMAL(10,2) NOT NULL DEFAULT 0.00 COMMENT 'Shifu original price',
    paid_price DECIMAL(10,2) NOT NULL DEFAULT 0.00 COMMENT 'Paid price',
    status SMALLINT NOT NULL DEFAULT 501 COMMENT 'Status: 501=init, 502=paid, 503=refunded, 504=unpaid, 505=timeout',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    INDEX idx_order_bid (order_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_user_id (user_id),
    INDEX idx_status (status),
    INDEX idx_deleted (deleted),
    -- Ours: without them the orders lists (of all, of one user) sort the whole table.
    INDEX idx_list (deleted, created_at, id),
    INDEX idx_user_list (user_id, deleted, created_at, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Order orders';

CREATE TABLE IF NOT EXISTS order_pingxx_orders (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    pingxx_order_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Pingxx order business identifier',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User identifier',
    shifu_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    order_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Order business identifier',
    transaction_no VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Pingxx transaction number',
    app_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Pingxx app identifier',
    channel VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Payment channel',
    amount BIGINT NOT NULL DEFAULT 0 COMMENT 'Payment amount',
    currency VARCHAR(36) NOT NULL DEFAULT 'CNY' COMMENT 'Currency',
    subject VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Payment subject',
    body VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Payment body',
    client_ip VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Client IP',
    extra TEXT COMMENT 'Extra information',
    status SMALLINT NOT NULL DEFAULT 0 COMMENT 'Status: 0=unpaid, 1=paid, 2=refunded, 3=closed, 4=failed',
    charge_id VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Charge identifier',
    paid_at DATETIME DEFAULT CURRENT_TIMESTAMP COMMENT 'Payment time',
    refunded_at DATETIME DEFAULT CURRENT_TIMESTAMP COMMENT 'Refund time',
    closed_at DATETIME DEFAULT CURRENT_TIMESTAMP COMMENT 'Close time',
    failed_at DATETIME DEFAULT CURRENT_TIMESTAMP COMMENT 'Failed time',
    refund_id VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Refund identifier',
    failure_code VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Failure code',
    failure_msg VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Failure message',
    charge_object TEXT COMMENT 'Pingxx raw charge object',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    INDEX idx_pingxx_order_bid (pingxx_order_bid),
    INDEX idx_user_id (user_id),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_order_bid (order_bid),
    INDEX idx_transaction_no (transaction_no),
    INDEX idx_charge_id (charge_id),
    INDEX idx_refund_id (refund_id),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Order pingxx orders';

-- 2. Shifus: drafts, published copies, logs

-- 2.1 Draft shifus
-- Inline INDEX of the seed on shifu_bid, created_user_bid dropped: covered by idx_shifu_bid and idx_creator.
CREATE TABLE IF NOT EXISTS shifu_draft_shifus (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    title VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Shifu title',
    keywords VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Associated keywords',
    description VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Shifu description',
    avatar_res_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Avatar resource business identifier',
    llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'LLM model name',
    llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0 COMMENT 'LLM temperature parameter',
    llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'LLM system prompt',
    ask_enabled_status SMALLINT NOT NULL DEFAULT 5101 COMMENT 'Ask agent status: 5101=default, 5102=disabled, 5103=enabled',
    ask_llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Ask agent LLM model',
    ask_llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0.0 COMMENT 'Ask agent LLM temperature',
    ask_llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'Ask agent LLM system prompt',
    price DECIMAL(10,2) NOT NULL DEFAULT 0 COMMENT 'Shifu price',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_creator (created_user_bid),
    INDEX idx_deleted (deleted),
    INDEX idx_updated_user_bid (updated_user_bid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu draft shifus';

-- 2.2 Published shifus
-- Inline INDEX of the seed on shifu_bid, created_user_bid dropped: covered by idx_shifu_bid and idx_creator.
CREATE TABLE IF NOT EXISTS shifu_published_shifus (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    title VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Shifu title',
    keywords VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Associated keywords',
    description VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Shifu description',
    avatar_res_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Avatar resource business identifier',
    llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'LLM model name',
    llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0 COMMENT 'LLM temperature parameter',
    llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'LLM system prompt',
    ask_enabled_status SMALLINT NOT NULL DEFAULT 5101 COMMENT 'Ask agent status: 5101=default, 5102=disabled, 5103=enabled',
    ask_llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Ask agent LLM model',
    ask_llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0.0 COMMENT 'Ask agent LLM temperature',
    ask_llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'Ask agent LLM system prompt',
    price DECIMAL(10,2) NOT NULL DEFAULT 0 COMMENT 'Shifu price',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_creator (created_user_bid),
    INDEX idx_deleted (deleted),
    INDEX idx_updated_user_bid (updated_user_bid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu published shifus';

-- 2.3 Draft outline items
-- Inline INDEX of the seed on outline_item_bid, shifu_bid, parent_bid, position dropped: covered by the named keys.
CREATE TABLE IF NOT EXISTS shifu_draft_outline_items (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    outline_item_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Outline item business identifier',
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    title VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Outline item title',
    type SMALLINT NOT NULL DEFAULT 0 COMMENT 'Outline item type: 401=trial, 402=normal',
    hidden SMALLINT NOT NULL DEFAULT 0 COMMENT 'Hidden flag: 0=visible, 1=hidden',
    parent_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Parent outline item business identifier',
    `position` VARCHAR(10) NOT NULL DEFAULT '' COMMENT 'Position in outline',
    prerequisite_item_bids VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Prerequisite outline item business identifiers',
    llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'LLM model name',
    llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0 COMMENT 'LLM temperature parameter',
    llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'LLM system prompt',
    ask_enabled_status SMALLINT NOT NULL DEFAULT 5101 COMMENT 'Ask agent status: 5101=default, 5102=disabled, 5103=enabled',
    ask_llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Ask agent LLM model',
    ask_llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0.0 COMMENT 'Ask mode LLM temperature',
    ask_llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'Ask mode LLM system prompt',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_outline_item_bid (outline_item_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_parent_bid (parent_bid),
    INDEX idx_position (`position`),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu draft outline items';

-- 2.4 Published outline items
-- Inline INDEX of the seed on outline_item_bid, shifu_bid, created_user_bid dropped: covered by the named keys.
CREATE TABLE IF NOT EXISTS shifu_published_outline_items (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    outline_item_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Outline item business identifier',
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    title VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Outline item title',
    type SMALLINT NOT NULL DEFAULT 0 COMMENT 'Outline item type: 401=trial, 402=normal',
    hidden SMALLINT NOT NULL DEFAULT 0 COMMENT 'Hidden flag: 0=visible, 1=hidden',
    parent_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Parent outline item business identifier',
    `position` VARCHAR(10) NOT NULL DEFAULT '' COMMENT 'Outline position',
    prerequisite_item_bids VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Prerequisite outline item business identifiers',
    llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'LLM model name',
    llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0 COMMENT 'LLM temperature parameter',
    llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'LLM system prompt',
    ask_enabled_status SMALLINT NOT NULL DEFAULT 5101 COMMENT 'Ask agent status: 5101=default, 5102=disabled, 5103=enabled',
    ask_llm VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'Ask agent LLM model',
    ask_llm_temperature DECIMAL(10,2) NOT NULL DEFAULT 0.0 COMMENT 'Ask agent LLM temperature',
    ask_llm_system_prompt TEXT NOT NULL DEFAULT ('') COMMENT 'Ask agent LLM system prompt',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_outline_item_bid (outline_item_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_creator (created_user_bid),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu published outline items';

-- 2.5 Draft blocks
-- Inline INDEX of the seed on block_bid, shifu_bid, outline_item_bid, position dropped: covered by the named keys.
CREATE TABLE IF NOT EXISTS shifu_draft_blocks (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    block_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Block business identifier',
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    outline_item_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Outline item business identifier',
    type SMALLINT NOT NULL DEFAULT 0 COMMENT 'Block type',
    `position` SMALLINT NOT NULL DEFAULT 0 COMMENT 'Block position within outline',
    variable_bids VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Variable business identifiers used in block',
    resource_bids VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Resource business identifiers used in block',
    content TEXT NOT NULL DEFAULT ('') COMMENT 'Block content',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_block_bid (block_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_outline_item_bid (outline_item_bid),
    INDEX idx_position (`position`),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu draft blocks';

-- 2.6 Published blocks
-- Inline INDEX of the seed on block_bid, shifu_bid, outline_item_bid dropped: covered by the named keys.
CREATE TABLE IF NOT EXISTS shifu_published_blocks (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    block_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Block business identifier',
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    outline_item_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Outline item business identifier',
    type SMALLINT NOT NULL DEFAULT 0 COMMENT 'Block type',
    `position` SMALLINT NOT NULL DEFAULT 0 COMMENT 'Block position within outline',
    variable_bids VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Variable business identifiers used in block',
    resource_bids VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'Resource business identifiers used in block',
    content TEXT NOT NULL DEFAULT ('') COMMENT 'Block content',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_block_bid (block_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_outline_item_bid (outline_item_bid),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu published blocks';

-- 2.7 Other shifu tables
-- Inline INDEX of the seed on struct_bid dropped: covered by the UNIQUE key.
CREATE TABLE IF NOT EXISTS shifu_log_draft_structs (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    struct_bid VARCHAR(32) NOT NULL UNIQUE DEFAULT '' COMMENT 'Content business identifier',
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    `struct` TEXT NOT NULL DEFAULT ('') COMMENT 'JSON serialized shifu struct',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_shifu_bid (shifu_bid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu log draft structs';

-- Inline INDEX of the seed on struct_bid dropped: covered by the UNIQUE key.
CREATE TABLE IF NOT EXISTS shifu_log_published_structs (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    struct_bid VARCHAR(32) NOT NULL UNIQUE DEFAULT '' COMMENT 'Content business identifier',
    shifu_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    `struct` TEXT NOT NULL DEFAULT ('') COMMENT 'JSON serialized struct of published shifu',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Last update timestamp',
    updated_user_bid VARCHAR(32) NOT NULL DEFAULT '' COMMENT 'Last updater user business identifier',
    INDEX idx_shifu_bid (shifu_bid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Shifu log published structs';

CREATE TABLE IF NOT EXISTS scenario_favorite (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    scenario_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Scenario UUID',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User UUID',
    status INTEGER NOT NULL DEFAULT 0 COMMENT 'Status',
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Favorite scenario';

CREATE TABLE IF NOT EXISTS scenario_resource (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    resource_resource_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Resource UUID',
    scenario_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Scenario UUID',
    chapter_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Chapter UUID',
    resource_type INTEGER NOT NULL DEFAULT 0 COMMENT 'Resource type',
    resource_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Resource UUID',
    is_deleted INTEGER NOT NULL DEFAULT 0 COMMENT 'Is deleted',
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    INDEX idx_resource_resource_id (resource_resource_id),
    INDEX idx_scenario_id (scenario_id),
    INDEX idx_chapter_id (chapter_id),
    INDEX idx_resource_id (resource_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Scenario resource';

CREATE TABLE IF NOT EXISTS ai_course_auth (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    course_auth_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'course_auth_id UUID',
    course_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'course_id UUID',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User UUID',
    auth_type VARCHAR(255) NOT NULL DEFAULT '[]' COMMENT 'auth_info',
    status INTEGER NOT NULL DEFAULT 0 COMMENT 'Status',
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    INDEX idx_course_auth_id (course_auth_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Ai course auth';

-- 3. Learning records
CREATE TABLE IF NOT EXISTS learn_progress_records (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    progress_record_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Learn outline item business identifier',
    shifu_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    outline_item_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Outline business identifier',
    user_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User business identifier',
    outline_item_updated INTEGER NOT NULL DEFAULT 0 COMMENT 'Outline is updated',
    status SMALLINT NOT NULL DEFAULT 605 COMMENT 'Status: 601=not started, 602=in progress, 603=completed, 604=refund, 605=locked, 606=unavailable, 607=branch, 608=reset',
    block_position INTEGER NOT NULL DEFAULT 0 COMMENT 'Block position index of the outlineitem',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    INDEX idx_progress_record_bid (progress_record_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_outline_item_bid (outline_item_bid),
    INDEX idx_user_bid (user_bid),
    INDEX idx_status (status),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Learn progress records';

CREATE TABLE IF NOT EXISTS learn_generated_blocks (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    generated_block_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Learn block log business identifier',
    progress_record_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Learn outline item business identifier',
    user_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User business identifier',
    block_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Block business identifier',
    outline_item_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Outline business identifier',
    shifu_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    type INTEGER NOT NULL DEFAULT 0 COMMENT 'Block content type',
    role INTEGER NOT NULL DEFAULT 0 COMMENT 'Block role',
    generated_content TEXT NOT NULL DEFAULT ('') COMMENT 'Block generate content',
    `position` INTEGER NOT NULL DEFAULT 0 COMMENT 'Block position index',
    block_content_conf TEXT NOT NULL DEFAULT ('') COMMENT 'Block content config(used for re-generate)',
    liked INTEGER NOT NULL DEFAULT 0 COMMENT 'Interaction type: -1=disliked, 0=not available, 1=liked',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    status INTEGER NOT NULL DEFAULT 0 COMMENT 'Status of the record: 1=active, 0=history',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    INDEX idx_generated_block_bid (generated_block_bid),
    INDEX idx_progress_record_bid (progress_record_bid),
    INDEX idx_user_bid (user_bid),
    INDEX idx_block_bid (block_bid),
    INDEX idx_outline_item_bid (outline_item_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Learn generated blocks';

-- 4. Promotions
CREATE TABLE IF NOT EXISTS active (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    active_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Active UUID',
    active_name VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Active name',
    active_desc TEXT NOT NULL DEFAULT ('') COMMENT 'Active description',
    active_type INTEGER NOT NULL DEFAULT 0 COMMENT 'Active type',
    active_join_type INTEGER NOT NULL DEFAULT 0 COMMENT 'Active join type',
    active_status INTEGER NOT NULL DEFAULT 0 COMMENT 'Active status',
    active_start_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Active start time',
    active_end_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Active end time',
    active_price DECIMAL(10,2) NOT NULL DEFAULT '0.00' COMMENT 'Active price',
    active_discount DECIMAL(10,2) NOT NULL DEFAULT '0.00' COMMENT 'Active discount',
    active_discount_type INTEGER NOT NULL DEFAULT 0 COMMENT 'Active discount type',
    active_discount_desc TEXT NOT NULL DEFAULT ('') COMMENT 'Active discount description',
    active_filter TEXT NOT NULL DEFAULT ('') COMMENT 'Active filter',
    active_course VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Active course',
    created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    INDEX idx_active_id (active_id),
    INDEX idx_active_status (active_status),
    INDEX idx_active_start_time (active_start_time),
    INDEX idx_active_end_time (active_end_time)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Active promotions';

CREATE TABLE IF NOT EXISTS active_user_record (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    record_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Record UUID',
    active_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Active UUID',
    active_name VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Active name',
    user_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User UUID',
    price DECIMAL(10,2) NOT NULL DEFAULT '0.00' COMMENT 'Price of the active',
    order_id VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Order UUID',
    status INTEGER NOT NULL DEFAULT 0 COMMENT 'Status of the record',
    created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation time',
    updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update time',
    INDEX idx_record_id (record_id),
    INDEX idx_active_id (active_id),
    INDEX idx_user_id (user_id),
    INDEX idx_order_id (order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Active user records';

-- 5. Coupons
CREATE TABLE IF NOT EXISTS promo_coupons (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    coupon_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Coupon business identifier',
    code VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Coupon code',
    discount_type SMALLINT NOT NULL DEFAULT 701 COMMENT 'Coupon type: 701=fixed, 702=percent',
    usage_type SMALLINT NOT NULL DEFAULT 801 COMMENT 'Coupon apply type: 801=one coupon code for multiple times, 802=one coupon code for one time',
    `value` DECIMAL(10,2) NOT NULL DEFAULT '0.00' COMMENT 'Coupon value: would be calculated to amount by coupon type',
    `start` DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Coupon start time',
    `end` DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Coupon end time',
    channel VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Coupon channel',
    `filter` TEXT NOT NULL COMMENT 'Coupon filter: would be used to filter user and shifu',
    total_count BIGINT NOT NULL DEFAULT 0 COMMENT 'Coupon total count',
    used_count BIGINT NOT NULL DEFAULT 0 COMMENT 'Coupon used count',
    status SMALLINT NOT NULL DEFAULT 0 COMMENT 'Status of the discount: 0=inactive, 1=active',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    created_user_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Creator user business identifier',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update timestamp',
    INDEX idx_coupon_bid (coupon_bid),
    INDEX idx_code (code),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Promo coupons';

CREATE TABLE IF NOT EXISTS promo_coupon_usages (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    coupon_usage_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Coupon usage business identifier',
    coupon_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Coupon business identifier',
    name VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'Coupon name',
    user_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'User business identifier',
    shifu_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Shifu business identifier',
    order_bid VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Order business identifier',
    code VARCHAR(36) NOT NULL DEFAULT '' COMMENT 'Coupon code',
    discount_type SMALLINT NOT NULL DEFAULT 701 COMMENT 'Coupon Type: 701=fixed, 702=percent',
    `value` DECIMAL(10,2) NOT NULL DEFAULT '0.00' COMMENT 'Coupon value: would be calculated to amount by coupon type',
    status SMALLINT NOT NULL DEFAULT 902 COMMENT 'Status of the record: 901=inactive, 902=active, 903=used, 904=timeout',
    deleted SMALLINT NOT NULL DEFAULT 0 COMMENT 'Deletion flag: 0=active, 1=deleted',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'Creation timestamp',
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'Update timestamp',
    INDEX idx_coupon_usage_bid (coupon_usage_bid),
    INDEX idx_coupon_bid (coupon_bid),
    INDEX idx_user_bid (user_bid),
    INDEX idx_shifu_bid (shifu_bid),
    INDEX idx_order_bid (order_bid),
    INDEX idx_deleted (deleted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Promo coupon usages';

-- 6. Settings of the tenant, whose rows the provisioner writes (the tenant has its own name)
-- Inline INDEX of the seed on config_key dropped: covered by uk_config_key.
CREATE TABLE IF NOT EXISTS tenant_config (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    config_key VARCHAR(100) NOT NULL COMMENT '配置键',
    config_value TEXT COMMENT '配置值',
    config_type VARCHAR(20) DEFAULT 'string' COMMENT '配置类型',
    description VARCHAR(200) COMMENT '配置描述',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    UNIQUE KEY uk_config_key (config_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT '租户配置表';

-- 7. Statistics of the tenant
-- idx_date repeats uk_stat_date. Kept, because the seed names it.
CREATE TABLE IF NOT EXISTS tenant_statistics (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    stat_date DATE NOT NULL COMMENT '统计日期',
    total_users INT DEFAULT 0 COMMENT '总用户数',
    active_users INT DEFAULT 0 COMMENT '活跃用户数',
    total_orders INT DEFAULT 0 COMMENT '总订单数',
    total_revenue DECIMAL(12,2) DEFAULT 0.00 COMMENT '总收入',
    total_study_records INT DEFAULT 0 COMMENT '总学习记录数',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    UNIQUE KEY uk_stat_date (stat_date),
    INDEX idx_date (stat_date)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT '租户统计表';
