#!/bin/sh
# Runs files of accounts on a database server, as its administrator:
#
#   DB_HOST=db.example.com ADMIN_PASSWORD_FILE=/run/secrets/root deploy/sql/accounts.sh deploy/sql/system.sql
#
# The passwords of the accounts are read from SECRETS (/run/secrets), one file each, named as in the SQL: @NODE_PASSWORD@ is in
# node_password. They go from files into the client's standard input: never into an argument, which others could read.
set -eu

: "${DB_HOST:?the name of the database server}"
: "${ADMIN_PASSWORD_FILE:?the file of its administrator's password}"
secrets=${SECRETS:-/run/secrets}
client=$(command -v mysql || command -v mariadb) || { echo 'accounts.sh: neither mysql nor mariadb is installed' >&2; exit 1; }

# A substitution for each secret that the file names, read by sed from a pipe.
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
