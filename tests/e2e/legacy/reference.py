"""Runs the Flask reference (LEGACY_REFERENCE/app.py) on the default tenant's database of a test, with all five legacy calls.

The reference has the first of them. The other four stand here as the design document gives them, with the changes that the
reference makes too (text(), named parameters, dict(row._mapping)), and these:
  * shifu_published_shifus has no column `status`: 1, which is what "published" was;
  * times and amounts in the format of the first call, which the document writes out, for all of them;
  * errors with HTTP 200, as the old application gave them.
A system database of its own (reference_system) tells the reference where the tenant's database is.
"""

import datetime
import decimal
import os
import sys
import uuid
from urllib.parse import urlsplit

import pymysql
from cryptography.fernet import Fernet

reference = os.environ["LEGACY_REFERENCE"]
sys.path.insert(0, reference)
url = urlsplit(os.environ["DATABASE_URL"])
key = Fernet.generate_key().decode()

connection = pymysql.connect(
    host=url.hostname, port=url.port, user=url.username, password=url.password or "", charset="utf8mb4", autocommit=True
)
with connection.cursor() as cursor:
    cursor.execute("CREATE DATABASE IF NOT EXISTS reference_system CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    cursor.execute("USE reference_system")
    for table in (
        "saas_tenants (tenant_id VARCHAR(32), tenant_name VARCHAR(100), tenant_domain VARCHAR(100), database_name VARCHAR(100),"
        " status SMALLINT, deleted SMALLINT DEFAULT 0)",
        "saas_tenant_databases (tenant_id VARCHAR(32), db_host VARCHAR(200), db_port INT, db_name VARCHAR(100),"
        " db_username VARCHAR(100), db_password_encrypted TEXT, max_connections INT, is_active TINYINT)",
    ):
        cursor.execute("CREATE TABLE " + table)
    cursor.execute(
        "INSERT INTO saas_tenants (tenant_id, tenant_name, tenant_domain, database_name, status)"
        " VALUES ('default', 'default', 'app.ai-shifu.com', 'ai_shifu_tenant_default', 1)"
    )
    cursor.execute(
        "INSERT INTO saas_tenant_databases VALUES ('default', %s, %s, 'ai_shifu_tenant_default', %s, %s, 5, 1)",
        (url.hostname, url.port, url.username, Fernet(key.encode()).encrypt((url.password or "").encode()).decode()),
    )
connection.close()

os.environ["SYSTEM_DB_URL"] = f"{url.scheme}://{url.netloc}/reference_system"
os.environ["ENCRYPTION_KEY"] = key

import app as module  # noqa: E402  (it reads the environment)
from flask import g, jsonify, request  # noqa: E402
from sqlalchemy import text  # noqa: E402

app = module.app


def in_the_old_format(value):
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return float(value) if isinstance(value, decimal.Decimal) else value


def row(found):
    return {name: in_the_old_format(value) for name, value in found._mapping.items()}


manager = module.DatabaseManager(
    os.environ["SYSTEM_DB_URL"].replace("mysql://", "mysql+pymysql://"), os.environ["REDIS_URL"], key
)


@app.route("/api/legacy/orders", methods=["POST"])
def legacy_create_order():
    g.tenant_session = manager.get_tenant_session("default")
    try:
        data = request.json
        order_bid = str(uuid.uuid4())
        g.tenant_session.execute(
            text(
                "INSERT INTO order_orders (order_bid, shifu_bid, user_id, payable_price, status, created_at)"
                " VALUES (:order_bid, :shifu_bid, :user_id, :price, 501, CURRENT_TIMESTAMP)"
            ),
            {
                "order_bid": order_bid,
                "shifu_bid": data.get("shifu_id"),
                "user_id": data.get("user_id"),
                "price": data.get("price", 0),
            },
        )
        g.tenant_session.commit()
        return jsonify({"code": 0, "message": "success", "data": {"order_id": order_bid}})
    finally:
        g.tenant_session.close()


@app.route("/api/legacy/shifu/<shifu_id>", methods=["GET"])
def legacy_get_shifu(shifu_id):
    g.tenant_session = manager.get_tenant_session("default")
    try:
        shifu = g.tenant_session.execute(
            text(
                "SELECT shifu_bid, title, description, avatar_res_bid, 1 AS status FROM shifu_published_shifus"
                " WHERE shifu_bid = :shifu_id AND deleted = 0"
            ),
            {"shifu_id": shifu_id},
        ).fetchone()
        if not shifu:
            return jsonify({"code": 404, "message": "Shifu not found"})
        return jsonify({"code": 0, "message": "success", "data": row(shifu)})
    finally:
        g.tenant_session.close()


@app.route("/api/legacy/user/<user_id>/study_progress", methods=["GET"])
def legacy_get_study_progress(user_id):
    g.tenant_session = manager.get_tenant_session("default")
    try:
        progress = g.tenant_session.execute(
            text(
                "SELECT progress_record_bid, shifu_bid, outline_item_bid, status, block_position, created_at"
                " FROM learn_progress_records WHERE user_bid = :user_id AND deleted = 0 ORDER BY created_at DESC"
            ),
            {"user_id": user_id},
        ).fetchall()
        data = {"user_id": user_id, "progress": [row(found) for found in progress]}
        return jsonify({"code": 0, "message": "success", "data": data})
    finally:
        g.tenant_session.close()


@app.route("/api/legacy/coupons/user/<user_id>", methods=["GET"])
def legacy_get_user_coupons(user_id):
    g.tenant_session = manager.get_tenant_session("default")
    try:
        coupons = g.tenant_session.execute(
            text(
                "SELECT cu.coupon_usage_bid, cu.coupon_bid, cu.name, cu.code, cu.discount_type, cu.value, cu.status"
                " FROM promo_coupon_usages cu WHERE cu.user_bid = :user_id AND cu.deleted = 0"
                " ORDER BY cu.created_at DESC"
            ),
            {"user_id": user_id},
        ).fetchall()
        data = {"user_id": user_id, "coupons": [row(found) for found in coupons]}
        return jsonify({"code": 0, "message": "success", "data": data})
    finally:
        g.tenant_session.close()


app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
