#!/bin/sh
# Makes the secrets of compose.yaml, each a file of its own in deploy/secrets, and nothing that is there already:
#
#   deploy/secrets.sh && docker compose --file deploy/compose.yaml up --build --wait
#
# Nobody else on this machine can enter the folder. The files in it can be read by everybody who is let in, because containers
# read them as users of their own. Keep a copy of encryption_keys elsewhere: without it no tenant's password can be opened again.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
cd secrets

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# keep NAME VALUE: a file that is there keeps its value.
keep() {
    [ -s "$1" ] && return
    printf '%s' "$2" > "$1.new"
    chmod 444 "$1.new"
    mv "$1.new" "$1"
    echo "made deploy/secrets/$1"
}

for name in system_root_password tenant_root_password migrator_password control_password provisioner_system_password \
    node_password provisioner_password rabbitmq_password redis_password grafana_password; do
    keep "$name" "$(random)"
done
keep encryption_keys "k1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')"

# What the services read: addresses with the passwords in them.
system() { printf 'mysql://%s:%s@system-db:3306/ai_shifu_system' "$1" "$(cat "$1_password")"; }
keep migrator_db_url "$(system migrator)"
keep control_db_url "$(system control)"
keep provisioner_db_url "$(system provisioner_system)"
keep node_db_url "$(system node)"
keep tenant_db_admin_url "mysql://provisioner:$(cat provisioner_password)@tenant-db:3306"
keep amqp_url "amqp://saas:$(cat rabbitmq_password)@rabbitmq:5672/%2f"
keep redis_url "redis://:$(cat redis_password)@redis:6379/0"

# What the broker and Redis read.
keep rabbitmq.conf "default_user = saas
default_pass = $(cat rabbitmq_password)
"
keep redis.conf "requirepass $(cat redis_password)
"
