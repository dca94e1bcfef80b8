#!/bin/sh
# Runs SQL files that create accounts on a database server, as the server's administrator:
#
#   DB_HOST=db.example.com ADMIN_PASSWORD_FILE=/run/secrets/root deploy/sql/accounts.sh deploy/sql/system.sql
#
# The script reads the passwords of the accounts from the folder SECRETS (by default /run/secrets), one file each, named
# as in the SQL: the file node_password holds @NODE_PASSWORD@. It passes them to the client by standard input and never
# as an argument, because other users of the machine can read arguments.
set -eu

: "${DB_HOST:?the name of the database server}"
: "${ADMIN_PASSWORD_FILE:?the file of its administrator's password}"
secrets=${SECRETS:-/run/secrets}
client=$(command -v mysql || command -v mariadb) || { echo 'accounts.sh: neither mysql nor mariadb is installed' >&2; exit 1; }

# Prints a sed substitution for each secret that the file names. sed reads them from a pipe.
substitutions() {
    printf 's/@HOST@/%s/g\n' "${ACCOUNT_HOST:-%}"
    for name in $(grep -o '@[A-Z_]*_PASSWORD@' "$1" | sort -u | tr -d '@'); do
        file=$secrets/$(printf %s "$name" | tr '[:upper:]' '[:lower:]')
        [ -s "$file" ] || { echo "accounts.sh: the secret $file is missing" >&2; return 1; }
        case $(cat "$file") in
            *[!A-Za-z0-9]*) echo "accounts.sh: the secret $file must be of letters and digits" >&2; return 1 ;;
        esac
        printf 's/@%s@/%s/g\n' "$name" "$(cat "$file")"
    done
}

options=$(mktemp)
trap 'rm -f "$options"' EXIT
printf '[client]\nuser=%s\npassword="%s"\n' "${ADMIN_USER:-root}" "$(cat "$ADMIN_PASSWORD_FILE")" > "$options"
for file in "$@"; do
    script=$(substitutions "$file")
    printf '%s\n' "$script" | sed -f - "$file" |
        "$client" --defaults-extra-file="$options" --protocol=tcp --host="$DB_HOST" --port="${DB_PORT:-3306}"
    echo "accounts.sh: $file is done on $DB_HOST"
done
