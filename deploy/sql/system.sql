-- The system database and the accounts of the services on it: each may do what it does, and no more.
-- Run by an administrator of the server, before `control-plane migrate`; it may be run again, which sets the passwords anew.
--
-- accounts.sh puts in place of @NAME@ what stands in a secret, or an address. Passwords are of letters and digits.
-- @HOST@: from where the services connect, such as % or 10.0.%.
--
-- In a grant on `database`.* an underscore stands for any character: unescaped, the pattern would cover databases of others.

CREATE DATABASE IF NOT EXISTS `ai_shifu_system` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- Runs the migrations, and `control-plane rebuild`.
CREATE USER IF NOT EXISTS 'migrator'@'@HOST@';
ALTER USER 'migrator'@'@HOST@' IDENTIFIED BY '@MIGRATOR_PASSWORD@';
GRANT ALL PRIVILEGES ON `ai\_shifu\_system`.* TO 'migrator'@'@HOST@';

-- The control plane.
CREATE USER IF NOT EXISTS 'control'@'@HOST@';
ALTER USER 'control'@'@HOST@' IDENTIFIED BY '@CONTROL_PASSWORD@';
GRANT SELECT, INSERT, UPDATE, DELETE ON `ai\_shifu\_system`.* TO 'control'@'@HOST@';

-- The provisioners.
CREATE USER IF NOT EXISTS 'provisioner_system'@'@HOST@';
ALTER USER 'provisioner_system'@'@HOST@' IDENTIFIED BY '@PROVISIONER_SYSTEM_PASSWORD@';
GRANT SELECT, INSERT, UPDATE, DELETE ON `ai\_shifu\_system`.* TO 'provisioner_system'@'@HOST@';

-- The data nodes read; what they write is in nodes.sql, for tables that the migrations make.
CREATE USER IF NOT EXISTS 'node'@'@HOST@';
ALTER USER 'node'@'@HOST@' IDENTIFIED BY '@NODE_PASSWORD@';
GRANT SELECT ON `ai\_shifu\_system`.* TO 'node'@'@HOST@';
