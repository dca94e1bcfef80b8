#!/bin/sh
# Makes the secrets of compose.yaml, each in a file of its own in deploy/secrets. It never changes a file that exists:
#
#   deploy/secrets.sh && docker compose --file deploy/compose.yaml up --build --wait
#
# Only you (and root) can enter the folder. The files in it are readable by all users, because the processes in the
# containers run as users of their own. Store a copy of encryption_keys elsewhere: without it no tenant's password can
# be opened again.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
cd secrets

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# make NAME VALUE: writes the value to the file, unless the file exists.
make() {
    [ -s "$1" ] && return
    printf '%s' "$2" > "$1.new"
    chmod 444 "$1.new"
    mv "$1.new" "$1"
    echo "made deploy/secrets/$1"
}

for name in system_root_password tenant_root_password migrator_password control_password provisioner_system_password \
    node_password provisioner_password rabbitmq_password redis_password grafana_password; do
    make "$name" "$(random)"
done
make encryption_keys "k1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')"

# The services read these addresses, which contain the passwords.
system() { printf 'mysql://%s:%s@system-db:3306/ai_shifu_system' "$1" "$(cat "$1_password")"; }
make migrator_db_url "$(system migrator)"
make control_db_url "$(system control)"
make provisioner_db_url "$(system provisioner_system)"
make node_db_url "$(system node)"
make tenant_db_admin_url "mysql://provisioner:$(cat provisioner_password)@tenant-db:3306"
make amqp_url "amqp://saas:$(cat rabbitmq_password)@rabbitmq:5672/%2f"
make redis_url "redis://:$(cat redis_password)@redis:6379/0"

# RabbitMQ and Redis read these files.
make rabbitmq.conf "default_user = saas
default_pass = $(cat rabbitmq_password)
"
make redis.conf "requirepass $(cat redis_password)
"
