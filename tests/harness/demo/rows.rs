//! The rows of the demo tenant's database, as the legacy application would write them.

use anyhow::Result;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection};

use super::TENANT;

const ORDERS: u32 = 48;

/// Title, description, price in cents.
const SHIFUS: [(&str, &str, u32); 5] = [
    ("Prompt engineering for everyone", "Say what you want, and get it.", 19_900),
    ("Python in ten evenings", "From the first line to a small web service.", 29_900),
    ("Statistics without tears", "Means, medians, and when they lie.", 15_900),
    ("Writing that gets read", "Short sentences, clear thoughts.", 9_900),
    ("Drawing with the left hand", "For people who say they cannot draw.", 4_900),
];

pub async fn connect(url: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse()?;
    Ok(options.disable_statement_logging().connect().await?)
}

/// Writes all rows in one transaction. `IGNORE` skips rows that exist.
pub async fn fill(tenant_admin: &str, users: &[String]) -> Result<()> {
    let mut url = url::Url::parse(tenant_admin)?;
    url.set_path(&format!("ai_shifu_tenant_{TENANT}"));
    let mut connection = connect(url.as_str()).await?;
    let mut rows = connection.begin().await?;
    fill_courses(&mut rows, &users[0]).await?;
    fill_orders(&mut rows, users).await?;
    fill_progress(&mut rows, users).await?;
    fill_promotions(&mut rows, users).await?;
    rows.commit().await?;
    connection.close().await?;
    Ok(())
}

fn shifu_bid(index: u32) -> String {
    format!("demo-shifu-{}", index + 1)
}

/// A price in cents as the decimal that the database stores.
fn decimal(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

async fn fill_courses(rows: &mut MySqlConnection, author: &str) -> Result<()> {
    // The author's column is 32 characters wide, for ids without hyphens.
    let author = author.replace('-', "");
    for (index, (title, description, price)) in (0..).zip(SHIFUS) {
        sqlx::query(
            "INSERT IGNORE INTO shifu_published_shifus
                 (id, shifu_bid, title, keywords, description, llm, price, created_user_bid, updated_user_bid, created_at)
             VALUES (?, ?, ?, 'demo', ?, 'demo-model', ?, ?, ?, UTC_TIMESTAMP() - INTERVAL 90 DAY)",
        )
        .bind(index + 1)
        .bind(shifu_bid(index))
        .bind(title)
        .bind(description)
        .bind(decimal(price))
        .bind(&author)
        .bind(&author)
        .execute(&mut *rows)
        .await?;
    }
    Ok(())
}

async fn fill_orders(rows: &mut MySqlConnection, users: &[String]) -> Result<()> {
    for index in 0..ORDERS {
        let shifu = index * 7 % SHIFUS.len() as u32;
        let price = SHIFUS[shifu as usize].2;
        // Most orders are paid (502); some are refunded (503), unpaid (504), timed out (505) or just begun (501).
        let status = [502, 502, 502, 504, 502, 503, 502, 505, 502, 502, 501, 502][index as usize % 12];
        let paid = match status {
            // Every fourth order is a tenth cheaper.
            502 | 503 if index % 4 == 0 => price - price / 10,
            502 | 503 => price,
            _ => 0,
        };
        sqlx::query(
            "INSERT IGNORE INTO order_orders
                 (id, order_bid, shifu_bid, user_id, payable_price, paid_price, status, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP() - INTERVAL ? HOUR, UTC_TIMESTAMP() - INTERVAL ? HOUR)",
        )
        .bind(index + 1)
        .bind(format!("demo-order-{:04}", index + 1))
        .bind(shifu_bid(shifu))
        .bind(&users[2 + index as usize % 4])
        .bind(decimal(price))
        .bind(decimal(paid))
        .bind(status)
        // The order with the highest id is the newest.
        .bind((ORDERS - index) * 11)
        .bind((ORDERS - index) * 11)
        .execute(&mut *rows)
        .await?;
    }
    Ok(())
}

async fn fill_progress(rows: &mut MySqlConnection, users: &[String]) -> Result<()> {
    for index in 0..40_u32 {
        let shifu = index % SHIFUS.len() as u32;
        // Completed, in progress, not started.
        let status = [603, 603, 602, 601][index as usize % 4];
        sqlx::query(
            "INSERT IGNORE INTO learn_progress_records
                 (id, progress_record_bid, shifu_bid, outline_item_bid, user_bid, status, block_position)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(index + 1)
        .bind(format!("demo-progress-{:04}", index + 1))
        .bind(shifu_bid(shifu))
        .bind(format!("{}-lesson-{}", shifu_bid(shifu), index / 5 + 1))
        .bind(&users[2 + index as usize % 4])
        .bind(status)
        .bind(index % 9)
        .execute(&mut *rows)
        .await?;
    }
    Ok(())
}

async fn fill_promotions(rows: &mut MySqlConnection, users: &[String]) -> Result<()> {
    sqlx::query(
        "INSERT IGNORE INTO promo_coupons
             (id, coupon_bid, code, discount_type, usage_type, value, start, end, filter, total_count, used_count, status)
         VALUES (1, 'demo-coupon-1', 'WELCOME20', 701, 801, 20.00,
                     UTC_TIMESTAMP() - INTERVAL 30 DAY, UTC_TIMESTAMP() + INTERVAL 60 DAY, '', 100, 4, 1),
                (2, 'demo-coupon-2', 'SPRING10', 702, 802, 10.00,
                     UTC_TIMESTAMP() - INTERVAL 90 DAY, UTC_TIMESTAMP() - INTERVAL 30 DAY, '', 50, 4, 0)",
    )
    .execute(&mut *rows)
    .await?;
    sqlx::query(
        "INSERT IGNORE INTO active
             (id, active_id, active_name, active_desc, active_type, active_status, active_start_time, active_end_time,
              active_price, active_discount, active_discount_desc, active_filter, active_course)
         VALUES (1, 'demo-active-1', 'Opening week', 'A tenth off every course', 1, 1,
                     UTC_TIMESTAMP() - INTERVAL 7 DAY, UTC_TIMESTAMP() + INTERVAL 7 DAY, 0.00, 0.90,
                     'ten percent', '', 'demo-shifu-1'),
                (2, 'demo-active-2', 'Bring a friend', 'Two learn, one pays', 2, 1,
                     UTC_TIMESTAMP() - INTERVAL 20 DAY, UTC_TIMESTAMP() + INTERVAL 20 DAY, 99.00, 0.50,
                     'half price', '', 'demo-shifu-2')",
    )
    .execute(&mut *rows)
    .await?;
    for index in 0..8_u32 {
        let user = &users[2 + index as usize % 4];
        // The first four users have used their coupon; of the others, half are open and half have expired.
        let (coupon, code, kind, value, status) = match index {
            0..4 => (1, "WELCOME20", 701, "20.00", 903),
            4..6 => (1, "WELCOME20", 701, "20.00", 902),
            _ => (2, "SPRING10", 702, "10.00", 904),
        };
        sqlx::query(
            "INSERT IGNORE INTO promo_coupon_usages
                 (id, coupon_usage_bid, coupon_bid, name, user_bid, shifu_bid, order_bid, code, discount_type, value, status)
             VALUES (?, ?, ?, ?, ?, 'demo-shifu-1', ?, ?, ?, ?, ?)",
        )
        .bind(index + 1)
        .bind(format!("demo-usage-{}", index + 1))
        .bind(format!("demo-coupon-{coupon}"))
        .bind(if coupon == 1 { "Welcome" } else { "Spring" })
        .bind(user)
        .bind(if status == 903 { format!("demo-order-{:04}", index + 1) } else { String::new() })
        .bind(code)
        .bind(kind)
        .bind(value)
        .bind(status)
        .execute(&mut *rows)
        .await?;
        sqlx::query(
            "INSERT IGNORE INTO active_user_record
                 (id, record_id, active_id, active_name, user_id, price, order_id, status)
             VALUES (?, ?, ?, ?, ?, 0.00, ?, 1)",
        )
        .bind(index + 1)
        .bind(format!("demo-record-{}", index + 1))
        .bind(format!("demo-active-{}", index % 2 + 1))
        .bind(if index % 2 == 0 { "Opening week" } else { "Bring a friend" })
        .bind(user)
        .bind(format!("demo-order-{:04}", index + 1))
        .execute(&mut *rows)
        .await?;
    }
    Ok(())
}
