//! Which tables and columns are moved, added, widened or refused.

use super::*;
use crate::legacy::design;

fn source() -> Tables {
    let mut tables = design::tables(TargetDatabase::System);
    tables.retain(|name, _| !name.starts_with("saas_"));
    tables.extend(design::tables(TargetDatabase::Tenant));
    OWN.iter().for_each(|own| drop(tables.remove(*own)));
    for table in ["order_orders", "order_pingxx_orders"] {
        let column = tables.get_mut(table).unwrap().columns.iter_mut().find(|column| column.name == "user_id");
        column.unwrap().name = "user_bid".into();
    }
    tables
}

fn plans(source: &Tables, unmapped: Unmapped) -> Result<TablePlans, String> {
    resolve(source, &design::tables(TargetDatabase::System), &design::tables(TargetDatabase::Tenant), unmapped)
}

#[test]
fn every_table_of_the_known_schema_is_planned() {
    let plans = plans(&source(), Unmapped::Carry).unwrap();
    assert_eq!((plans.tables.len(), plans.generation), (23, Generation::September2025));
    assert!(plans.refusals.is_empty() && plans.changes.is_empty(), "{plans:?}");
}

#[test]
fn unmapped_tables_are_carried_or_left_and_named() {
    let mut source = source();
    let table = source["active"].clone();
    source.insert("ai_course".into(), table.clone());
    source.insert("old_view".into(), Table { kind: "VIEW".into(), ..table });
    let carried = plans(&source, Unmapped::Carry).unwrap();
    assert_eq!(carried.changes, [Change::Create { table: "ai_course".into() }]);
    assert_eq!(carried.left.len(), 1);
    let left = plans(&source, Unmapped::Leave).unwrap();
    assert_eq!((left.tables.len(), left.left.len()), (23, 2));
}

#[test]
fn unexpected_columns_and_types_are_refused_by_name() {
    let mut source = source();
    let text = source["active"].column("active_desc").unwrap().clone();
    source.get_mut("active").unwrap().columns.push(Column { name: "surprise".into(), ..text.clone() });
    source.get_mut("promo_coupons").unwrap().columns.retain(|column| column.name != "code");
    source.get_mut("user_info").unwrap().columns.iter_mut().find(|c| c.name == "mobile").unwrap().data_type =
        "int".into();
    let refusals = plans(&source, Unmapped::Carry).unwrap().refusals.join("\n");
    for name in ["active.surprise", "promo_coupons", "code", "user_info.mobile"] {
        assert!(refusals.contains(name), "{name} in {refusals}");
    }
}

#[test]
fn newer_columns_are_added_and_longer_ones_widened() {
    let mut source = source();
    let long = Column {
        data_type: "longtext".into(),
        column_type: "longtext".into(),
        octets: Some(u64::from(u32::MAX)),
        characters: Some(u64::from(u32::MAX)),
        ..source["active"].column("active_desc").unwrap().clone()
    };
    source
        .get_mut("shifu_draft_outline_items")
        .unwrap()
        .columns
        .push(Column { name: "content".into(), ..long.clone() });
    let structs = &mut source.get_mut("shifu_log_draft_structs").unwrap().columns;
    *structs.iter_mut().find(|column| column.name == "struct").unwrap() = Column { name: "struct".into(), ..long };
    for newer in ["user_users", "user_auth_credentials"] {
        source.insert(newer.into(), Table { kind: "BASE TABLE".into(), ..Table::default() });
    }
    let plans = plans(&source, Unmapped::Leave).unwrap();
    assert_eq!(plans.generation, Generation::November2025);
    assert!(plans.refusals.is_empty(), "{:?}", plans.refusals);
    assert!(matches!(&plans.changes[..], [Change::Add { .. }, Change::Widen { .. }]), "{:?}", plans.changes);
}

#[test]
fn other_databases_are_refused_by_what_they_are() {
    let refused = |source: &Tables| Generation::of(source).unwrap_err();
    assert!(refused(&Tables::new()).contains("no AI-Shifu database"));
    let mut newest = source();
    for gone in ["user_info", "active", "shifu_draft_blocks"] {
        newest.remove(gone);
    }
    newest.insert("user_users".into(), Table::default());
    assert!(refused(&newest).contains("schema of 2026"));
    let mut part = source();
    part.remove("promo_coupons");
    assert!(refused(&part).contains("promo_coupons"));
    assert!(refused(&design::tables(TargetDatabase::System)).contains("system database of the new system"));
}
