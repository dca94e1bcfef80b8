-- The system database and the accounts of the services on it. Each account has the rights that its service uses, and no
-- others. An administrator of the server runs this file before `control-plane migrate`. Running it again sets the
-- passwords again.
--
-- accounts.sh replaces each @NAME@ by a secret or an address. Passwords consist of letters and digits.
-- @HOST@ is the host part of the accounts: where the services connect from, such as % or 10.0.%.
--
-- In a grant on `database`.* an unescaped underscore matches any character, so the grant would also cover other
-- databases.

CREATE DATABASE IF NOT EXISTS `ai_shifu_system` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- This account runs `control-plane migrate` and `control-plane rebuild`.
CREATE USER IF NOT EXISTS 'migrator'@'@HOST@';
ALTER USER 'migrator'@'@HOST@' IDENTIFIED BY '@MIGRATOR_PASSWORD@' PASSWORD EXPIRE NEVER;
GRANT ALL PRIVILEGES ON `ai\_shifu\_system`.* TO 'migrator'@'@HOST@';

-- The control plane. tables.sql also lets it change and remove rows, except events.
CREATE USER IF NOT EXISTS 'control'@'@HOST@';
ALTER USER 'control'@'@HOST@' IDENTIFIED BY '@CONTROL_PASSWORD@' PASSWORD EXPIRE NEVER;
GRANT SELECT, INSERT ON `ai\_shifu\_system`.* TO 'control'@'@HOST@';

-- The provisioners. tables.sql also lets them change and remove rows, except events.
CREATE USER IF NOT EXISTS 'provisioner_system'@'@HOST@';
ALTER USER 'provisioner_system'@'@HOST@' IDENTIFIED BY '@PROVISIONER_SYSTEM_PASSWORD@' PASSWORD EXPIRE NEVER;
GRANT SELECT, INSERT ON `ai\_shifu\_system`.* TO 'provisioner_system'@'@HOST@';

-- The data nodes. tables.sql grants what they read and write, because it names tables that the migrations create.
CREATE USER IF NOT EXISTS 'node'@'@HOST@';
ALTER USER 'node'@'@HOST@' IDENTIFIED BY '@NODE_PASSWORD@' PASSWORD EXPIRE NEVER;
