-- The provisioners' account on a server of tenants' databases. Run by an administrator of the server; it may be run again,
-- which sets the password anew. Data nodes have no account here: they log in as each tenant's own user.
--
-- accounts.sh puts in place of @NAME@ what stands in a secret, or an address.

CREATE USER IF NOT EXISTS 'provisioner'@'@HOST@';
ALTER USER 'provisioner'@'@HOST@' IDENTIFIED BY '@PROVISIONER_PASSWORD@';
-- CONNECTION ADMIN, to end the sessions of an account that is being replaced: one right, spelt in two ways. MariaDB reads the
-- first comment and MySQL the second. Backups save the text of routines: MySQL shows it for SHOW_ROUTINE, MariaDB has it in the schema mysql.
-- Where a server writes a log of changes (log_bin), it needs log_bin_trust_function_creators = 1 for triggers and functions to be made again.
GRANT CREATE USER, RELOAD, PROCESS, /*M!100502 CONNECTION ADMIN *//*!80000 CONNECTION_ADMIN *//*!80020 , SHOW_ROUTINE */ ON *.* TO 'provisioner'@'@HOST@';
-- Audits compare users and their rights with what the events say.
GRANT SELECT ON `mysql`.* TO 'provisioner'@'@HOST@';
-- It can hand on only what it has itself.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, CREATE TEMPORARY TABLES, CREATE VIEW,
      SHOW VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, EXECUTE
   ON `ai\_shifu\_tenant\_%`.* TO 'provisioner'@'@HOST@' WITH GRANT OPTION;
