-- What later versions did to the tables that the migrator moves: users and promotions are gone, blocks too.
DROP TABLE user_info;
DROP TABLE active;
DROP TABLE active_user_record;
DROP TABLE shifu_draft_blocks;
DROP TABLE shifu_published_blocks;
