-- The account of the provisioners on a server of tenants' databases. An administrator of the server runs this file.
-- Running it again sets the password again. Data nodes have no account here, because they log in as each tenant's own
-- user.
--
-- accounts.sh replaces each @NAME@ by a secret or an address.

CREATE USER IF NOT EXISTS 'provisioner'@'@HOST@';
ALTER USER 'provisioner'@'@HOST@' IDENTIFIED BY '@PROVISIONER_PASSWORD@' PASSWORD EXPIRE NEVER;
-- The provisioner needs CONNECTION ADMIN to end the sessions of an account that it replaces. MariaDB and MySQL spell
-- this right differently: MariaDB reads the first comment and MySQL the second. Backups save the text of routines,
-- which MySQL shows only with SHOW_ROUTINE; MariaDB has it in the schema mysql. The session of a backup or a move needs
-- some values that MySQL lets only SESSION_VARIABLES_ADMIN set (innodb_strict_mode and others). A server that writes a
-- binary log (log_bin) needs log_bin_trust_function_creators = 1, so that a restore can create triggers and functions.
GRANT CREATE USER, RELOAD, PROCESS, /*M!100502 CONNECTION ADMIN *//*!80000 CONNECTION_ADMIN *//*!80020 , SHOW_ROUTINE */
      /*!80014 , SESSION_VARIABLES_ADMIN */ ON *.* TO 'provisioner'@'@HOST@';
-- Audits compare the users and their rights with the event log.
GRANT SELECT ON `mysql`.* TO 'provisioner'@'@HOST@';
-- An account can grant only rights that it has itself, so the provisioner has all rights of a tenant's user.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, CREATE TEMPORARY TABLES, CREATE VIEW,
      SHOW VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, EXECUTE
   ON `ai\_shifu\_tenant\_%`.* TO 'provisioner'@'@HOST@' WITH GRANT OPTION;
