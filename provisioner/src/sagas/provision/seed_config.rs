//! The step `seed_config`: `tenant_config` has its default rows. Rows that are there already stay as they are.

use crate::sagas::saga::Step;
use crate::sagas::shared::apply_config;
use crate::sagas::{Context, StepError};
use kernel::database::sql;

/// Key, value, type, description: the seed's rows after `tenant.name`, which is the tenant's own.
const DEFAULTS: [(&str, &str, &str, &str); 5] = [
    ("tenant.logo_url", "", "string", "租户Logo URL"),
    ("tenant.theme_color", "#1890ff", "string", "租户主题色"),
    ("tenant.contact_email", "", "string", "联系邮箱"),
    ("features.payment_enabled", "true", "boolean", "是否启用支付功能"),
    ("features.study_tracking", "true", "boolean", "是否启用学习跟踪"),
];

pub const STEP: Step = Step::new("seed_config", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let name = (apply_config::NAME, context.tenant.tenant_name.as_str(), "string", "租户名称");
    let rows: Vec<_> = std::iter::once(name).chain(DEFAULTS).collect();
    let insert = format!(
        "INSERT INTO {}.tenant_config (config_key, config_value, config_type, description) VALUES {}
         ON DUPLICATE KEY UPDATE config_key = tenant_config.config_key",
        sql::identifier(context.database())?,
        vec!["(?, ?, ?, ?)"; rows.len()].join(", "),
    );
    let mut query = sqlx::query(&insert);
    for (key, value, kind, description) in rows {
        query = query.bind(key).bind(value).bind(kind).bind(description);
    }
    query.execute(context.session.connection()).await?;
    Ok(())
}
