//! One table in one direction: the statements that read, write, delete and compare its rows.
//!
//! **The checksum of a row** is the SHA-256 of all its columns in the order of the source, each with its length, NULL marked apart,
//! text in UTF-8, long values by their own SHA-256; that of many rows is the sum of the first 60 bits of theirs, so it depends
//! on no order and two equal rows do not cancel out. Both servers compute it by the same expression, with the names of their
//! own columns. (MD5 would be as good here, but MySQL has it no more from 9.6 on.)

use super::LegacyError;
use super::mapping::Place;
use super::routes::{Route, RouteColumn};
use super::schema::{Column, Family};
use kernel::database::sql::{self, Form};

/// Which way rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the old database to the new ones.
    Forward,
    /// From the new ones back.
    Back,
}

/// One end of a lane.
#[derive(Clone, Debug)]
pub struct End {
    /// Quoted name of the table.
    pub table: String,
    /// Quoted name of the ordering key, if there is one.
    pub key: Option<String>,
    /// Rows that count: a condition, or `TRUE`.
    pub filter: String,
    /// SHA-256 of a row, in hexadecimal digits.
    hash: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Name of the table, for people.
    pub name: String,
    /// Where rows come from.
    pub from: End,
    /// Where they go.
    pub to: End,
    /// How each column is read.
    select: Vec<String>,
    /// How each column's values are written.
    pub forms: Vec<Form>,
    /// Place of the key among the columns.
    pub key_index: Option<usize>,
    /// `INSERT INTO t (columns) VALUES `.
    pub insert: String,
}

/// Longest text, in bytes, that is part of a row's checksum as it is; SHA-256 stands for a longer one.
const SHORT: u64 = 4096;

impl Lane {
    /// The lane of a route. `tenant_id` is the default tenant, whose users' rows go back.
    pub fn new(route: &Route, direction: Direction, tenant_id: &str) -> Result<Self, LegacyError> {
        let old = End {
            table: sql::identifier(&route.table)?.to_string(),
            key: route.key.as_deref().map(sql::identifier).transpose()?.map(|key| key.to_string()),
            filter: "TRUE".into(),
            hash: row_hash(route, |column| exact(&column.from, column, None))?,
        };
        let forward = direction == Direction::Forward;
        let back = |column: &RouteColumn| {
            let lists = route.mapped.map_or(&[][..], |mapped| mapped.back);
            lists.iter().find(|(name, _)| *name == column.to && !forward).map(|(_, instead)| *instead)
        };
        let new_exact = |column: &RouteColumn| exact(&column.to, column, back(column));
        let new = End {
            filter: if forward { "TRUE".into() } else { goes_back(route, tenant_id)? },
            hash: row_hash(route, new_exact)?,
            ..old.clone()
        };
        let mut select = Vec::with_capacity(route.columns.len());
        let mut written = Vec::with_capacity(route.columns.len());
        for column in &route.columns {
            select.push(if forward { exact(&column.from, column, None)? } else { new_exact(column)? });
            written.push(sql::identifier(if forward { &column.to } else { &column.from })?.to_string());
        }
        let (from, to) = if forward { (old, new) } else { (new, old) };
        Ok(Self {
            name: route.table.clone(),
            insert: format!("INSERT INTO {} ({}) VALUES ", to.table, written.join(", ")),
            from,
            to,
            select,
            forms: route.columns.iter().map(|column| column.column.form()).collect(),
            key_index: route.columns.iter().position(|column| Some(&column.from) == route.key.as_ref()),
        })
    }

    /// Reads rows that meet `condition`.
    pub fn read(&self, condition: &str) -> String {
        format!("SELECT {} FROM {} WHERE {} AND {condition}", self.select.join(", "), self.from.table, self.from.filter)
    }
}

impl End {
    /// Rows and checksum of a range, in one line of two texts.
    pub fn checksum(&self, range: &Range) -> String {
        checksum_of(&self.hash, &self.table, &self.within(range))
    }

    /// Key and the first 128 bits of the SHA-256 of each row of a range.
    pub fn hashes(&self, range: &Range) -> String {
        let key = self.key.as_deref().unwrap_or("NULL");
        format!("SELECT CAST({key} AS CHAR), LEFT({}, 32) FROM {} WHERE {}", self.hash, self.table, self.within(range))
    }

    /// The key of the `step`-th row of a range.
    pub fn bound(&self, range: &Range, step: u64) -> String {
        let key = self.key.as_deref().unwrap_or("NULL");
        format!(
            "SELECT CAST({key} AS CHAR) FROM {} WHERE {} ORDER BY {key} LIMIT 1 OFFSET {}",
            self.table,
            self.within(range),
            step.saturating_sub(1)
        )
    }

    /// The highest key.
    pub fn newest(&self) -> Option<String> {
        self.key.as_deref().map(|key| format!("SELECT CAST(MAX({key}) AS CHAR) FROM {}", self.table))
    }

    /// Condition that a row counts and is in a range.
    pub fn within(&self, range: &Range) -> String {
        let mut condition = self.filter.clone();
        if let Some(key) = &self.key {
            if let Some(after) = range.after {
                condition.push_str(&format!(" AND {key} > {after}"));
            }
            if let Some(to) = range.to {
                condition.push_str(&format!(" AND {key} <= {to}"));
            }
        }
        condition
    }
}

/// Keys after one and up to another; without them, without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The key before the first.
    pub after: Option<i128>,
    /// The last key.
    pub to: Option<i128>,
}

fn exact(name: &str, column: &RouteColumn, instead: Option<&str>) -> Result<String, LegacyError> {
    let named = super::schema::Column { name: name.to_owned(), ..column.column.clone() };
    let expression = named.exact()?;
    Ok(match instead {
        Some(instead) => format!("COALESCE({expression}, {instead})"),
        None => expression,
    })
}

fn row_hash(
    route: &Route,
    expression: impl Fn(&RouteColumn) -> Result<String, LegacyError>,
) -> Result<String, LegacyError> {
    let values: Result<Vec<_>, _> =
        route.columns.iter().map(|column| Ok::<_, LegacyError>((&column.column, expression(column)?))).collect();
    Ok(hash_of(values?))
}

/// SHA-256 of a row, in hexadecimal digits: of columns with the expressions that read them.
pub fn hash_of<'a>(values: impl IntoIterator<Item = (&'a Column, String)>) -> String {
    let piece = |(column, value): (&Column, String)| {
        let text = format!("CONVERT({value} USING utf8mb4)");
        let short = column.octets.is_some_and(|octets| octets <= SHORT);
        match column.family() {
            Family::Integer | Family::Decimal | Family::Float | Family::Bits => format!("IFNULL(CONCAT({value}), 'N')"),
            Family::Text if short => format!("IFNULL(CONCAT(LENGTH({text}), ':', {text}), 'N')"),
            Family::Text => format!("IFNULL(CONCAT(LENGTH({text}), ':', SHA2({text}, 256)), 'N')"),
            Family::Bytes => format!("IFNULL(CONCAT(LENGTH({value}), ':', SHA2({value}, 256)), 'N')"),
            Family::Other if column.is_date() => format!("IFNULL(CONCAT({value}), 'N')"),
            Family::Other => format!("IFNULL(CONCAT(LENGTH({text}), ':', SHA2({text}, 256)), 'N')"),
        }
    };
    let pieces: Vec<_> = values.into_iter().map(piece).collect();
    format!("SHA2(CONCAT_WS('|', {}), 256)", pieces.join(", "))
}

/// Rows and checksum of the rows of `table` that meet `condition`, in one line of two texts. `hash` is that of a row.
pub fn checksum_of(hash: &str, table: &str, condition: &str) -> String {
    format!(
        "SELECT CAST(COUNT(*) AS CHAR), CAST(COALESCE(SUM(CAST(CONV(LEFT({hash}, 15), 16, 10) AS UNSIGNED)), 0) AS CHAR) \
         FROM {table} WHERE {condition}"
    )
}

/// Whose rows of the system database go back: everybody's, but not those of users who belong to other tenants only.
fn goes_back(route: &Route, tenant_id: &str) -> Result<String, LegacyError> {
    let user = match route.mapped {
        Some(mapped) if mapped.place == Place::System => match (mapped.table, mapped.user) {
            ("user_info", _) => "user_id",
            (_, Some(user)) => mapped.new_name(user),
            (_, None) => return Ok("TRUE".into()),
        },
        _ => return Ok("TRUE".into()),
    };
    let (table, user, tenant) = (sql::identifier(&route.table)?, sql::identifier(user)?, sql::literal(tenant_id)?);
    Ok(format!(
        "({table}.{user} IN (SELECT user_id FROM saas_tenant_users WHERE tenant_id = {tenant} AND deleted = 0) \
         OR {table}.{user} NOT IN (SELECT user_id FROM saas_tenant_users WHERE deleted = 0))"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::design;
    use crate::legacy::routes::{self, Unmapped};

    #[test]
    fn both_ends_name_their_own_columns() {
        let (system, tenant) = (design::tables(Place::System), design::tables(Place::Tenant));
        let mut source = system.clone();
        source.retain(|name, _| !name.starts_with("saas_"));
        source.extend(tenant.clone());
        source.retain(|name, _| !name.starts_with("tenant_"));
        let orders = source.get_mut("order_pingxx_orders").unwrap();
        orders.columns.iter_mut().find(|column| column.name == "user_id").unwrap().name = "user_bid".into();
        let mut orders = source.get_mut("order_orders").unwrap().columns.iter_mut();
        orders.find(|column| column.name == "user_id").unwrap().name = "user_bid".into();
        let routing = routes::resolve(&source, &system, &tenant, Unmapped::Carry).unwrap();
        let route = |name: &str| routing.routes.iter().find(|route| route.table == name).unwrap();

        let forward = Lane::new(route("order_pingxx_orders"), Direction::Forward, "default").unwrap();
        assert!(forward.read("TRUE").contains("`user_bid`") && forward.insert.contains("`user_id`"));
        assert!(forward.from.hash.contains("`user_bid`") && forward.to.hash.contains("`user_id`"));
        assert!(!forward.to.hash.contains("COALESCE(`extra`"));
        assert_eq!(forward.key_index, Some(0));
        let back = Lane::new(route("order_pingxx_orders"), Direction::Back, "default").unwrap();
        assert!(back.read("TRUE").contains("COALESCE(`extra`, '')") && back.insert.contains("`user_bid`"));
        assert!(back.from.hash.contains("COALESCE(`paid_at`, created_at)") && !back.to.hash.contains("COALESCE"));

        let users = Lane::new(route("user_info"), Direction::Back, "default").unwrap();
        assert!(users.read("TRUE").contains("saas_tenant_users") && users.to.filter == "TRUE");
        let within = users.to.within(&Range { after: Some(-5), to: Some(9_007_199_254_740_993) });
        assert_eq!(within, "TRUE AND `id` > -5 AND `id` <= 9007199254740993");
    }
}
