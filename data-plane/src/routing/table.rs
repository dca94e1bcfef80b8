//! [`Table`]: every tenant by id and by domain, and the settings of the installation that routing needs.

use super::{Availability, Plans, Route};
use kernel::domain::{DomainName, Position, TenantId};
use kernel::store::installation::Switches;
use std::collections::HashMap;
use std::sync::Arc;

/// What an update means for the caches that depend on the table.
#[derive(Default)]
pub struct Changes {
    /// Tenants whose rows were read.
    pub touched: Vec<Arc<TenantId>>,
    /// Tenants whose connections must be closed if they are older than this generation.
    pub retired: Vec<(Arc<TenantId>, u64)>,
}

/// The routing table.
#[derive(Default)]
pub struct Table {
    /// Position of the event log up to which the table includes all changes.
    pub position: Position,
    /// The settings of the installation.
    pub switches: Switches,
    plans: Plans,
    tenants: HashMap<TenantId, Arc<Route>>,
    domains: HashMap<DomainName, TenantId>,
    generations: u64,
}

impl Table {
    /// A tenant by its id.
    pub fn tenant(&self, id: &str) -> Option<Arc<Route>> {
        self.tenants.get(id).cloned()
    }

    /// The tenant that a domain in normal form routes to.
    pub fn domain(&self, domain: &str) -> Option<Arc<Route>> {
        self.tenants.get(self.domains.get(domain)?).cloned()
    }

    /// The default tenant, if it exists.
    pub fn default_tenant(&self) -> Option<Arc<Route>> {
        self.tenants.get(self.switches.default_tenant.as_ref()?).cloned()
    }

    /// Replaces the plans. Returns how many tenants have other limits as a result.
    pub fn set_plans(&mut self, plans: Plans) -> usize {
        if self.plans == plans {
            return 0;
        }
        self.plans = plans;
        let mut changed = 0;
        for route in self.tenants.values_mut() {
            let mut updated = (**route).clone();
            if updated.apply_plan(&self.plans) {
                *route = Arc::new(updated);
                changed += 1;
            }
        }
        changed
    }

    /// The number of tenants.
    pub fn len(&self) -> usize {
        self.tenants.len()
    }

    /// Replaces the routes of the tenants `asked` by those in `read`. A tenant that is not among `read` is removed.
    pub fn update(&mut self, asked: &[TenantId], read: Vec<Route>) -> Changes {
        let mut changes = Changes::default();
        // All domains are removed first, because a domain may move between two of these tenants.
        let mut before = HashMap::with_capacity(asked.len());
        for id in asked {
            if let Some(route) = self.tenants.remove(id) {
                for domain in &route.domains {
                    if self.domains.get(domain) == Some(id) {
                        self.domains.remove(domain);
                    }
                }
                before.insert(id.clone(), route);
            }
        }
        for route in read {
            let old = before.remove(&*route.tenant_id);
            self.insert(route, old.as_deref(), &mut changes);
        }
        for (_, gone) in before {
            self.generations += 1;
            changes.retired.push((Arc::clone(&gone.tenant_id), self.generations));
            changes.touched.push(Arc::clone(&gone.tenant_id));
        }
        changes
    }

    /// Replaces all routes. Tenants that are not among `read` are removed.
    pub fn replace(&mut self, read: Vec<Route>) -> Changes {
        let mut asked: Vec<TenantId> = self.tenants.keys().cloned().collect();
        asked.extend(read.iter().map(|route| (*route.tenant_id).clone()));
        self.domains.clear();
        self.update(&asked, read)
    }

    fn insert(&mut self, mut route: Route, old: Option<&Route>, changes: &mut Changes) {
        match old {
            Some(old) if route.keeps_connections_of(old) => route.generation = old.generation,
            Some(_) => {
                self.generations += 1;
                route.generation = self.generations;
                changes.retired.push((Arc::clone(&route.tenant_id), route.generation));
            }
            None => {
                self.generations += 1;
                route.generation = self.generations;
            }
        }
        route.apply_plan(&self.plans);
        for domain in &route.domains {
            self.domains.insert(domain.clone(), (*route.tenant_id).clone());
        }
        changes.touched.push(Arc::clone(&route.tenant_id));
        self.tenants.insert((*route.tenant_id).clone(), Arc::new(route));
    }

    /// The number of tenants that are served.
    pub fn served(&self) -> usize {
        self.tenants.values().filter(|route| route.availability == Availability::Served).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::tests::route;
    use super::super::{Limits, Plan};
    use super::*;

    fn ids(ids: &[&str]) -> Vec<TenantId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn table(names: &[&str]) -> Table {
        let mut table = Table::default();
        table.replace(names.iter().map(|name| route(name)).collect());
        table
    }

    fn owner(table: &Table, domain: &str) -> Option<String> {
        table.domain(domain).map(|route| route.tenant_id.to_string())
    }

    #[test]
    fn a_domain_moves_between_tenants_in_either_order_of_rows() {
        for order in [[0, 1], [1, 0]] {
            let mut table = table(&["t1", "t2"]);
            let (mut loser, mut winner) = (route("t1"), route("t2"));
            winner.domains.append(&mut loser.domains);
            let both = [loser, winner];
            table.update(&ids(&["t1", "t2"]), order.iter().map(|at| both[*at].clone()).collect());
            assert_eq!(owner(&table, "t1.example.com").as_deref(), Some("t2"));
        }
    }

    #[test]
    fn a_former_owner_read_late_does_not_take_the_domain_back() {
        let mut table = table(&["t1", "t2"]);
        let mut winner = route("t2");
        winner.domains.push("t1.example.com".parse().unwrap());
        table.update(&ids(&["t2"]), vec![winner]);
        let mut loser = route("t1");
        loser.domains.clear();
        table.update(&ids(&["t1"]), vec![loser]);
        assert_eq!(owner(&table, "t1.example.com").as_deref(), Some("t2"));
    }

    #[test]
    fn a_removed_tenant_leaves_no_route_and_no_domain() {
        let mut table = table(&["t1", "t2"]);
        let changes = table.update(&ids(&["t1"]), vec![]);
        assert!(table.tenant("t1").is_none() && table.domain("t1.example.com").is_none());
        assert_eq!(changes.retired.len(), 1);
        table.replace(vec![route("t3")]);
        assert!(table.tenant("t2").is_none() && table.domain("t2.example.com").is_none());
        assert_eq!(owner(&table, "t3.example.com").as_deref(), Some("t3"));
    }

    #[test]
    fn a_plan_applies_whenever_it_or_its_tenant_changes() {
        let plan = |concurrency, max_connections| Plan { limits: Limits::new(concurrency, 7), max_connections };
        let mut table = table(&["t1", "t2"]);
        let plans = |basic: Plan| Plans::from([("basic".to_owned(), basic), ("large".to_owned(), plan(90, None))]);
        assert_eq!(table.set_plans(plans(plan(2, Some(5)))), 2);
        assert_eq!(table.set_plans(plans(plan(2, Some(5)))), 0, "no plan has changed");
        let t1 = table.tenant("t1").unwrap();
        assert_eq!((t1.limits, t1.max_connections), (Limits::new(2, 7), 5));
        let mut other = route("t1");
        other.plan_type = "large".into();
        assert!(table.update(&ids(&["t1"]), vec![other]).retired.is_empty());
        let t1 = table.tenant("t1").unwrap();
        assert_eq!((t1.limits, t1.max_connections), (Limits::new(90, 7), 50), "the tenant's own number");
        assert_eq!(table.set_plans(plans(plan(3, None))), 1, "only the tenants of the changed plan");
        assert_eq!(table.tenant("t2").unwrap().limits.concurrency, 3);
        assert_eq!(table.set_plans(Plans::new()), 2);
        assert_eq!(table.tenant("t1").unwrap().limits, Limits::default());
    }

    #[test]
    fn a_generation_ends_only_with_a_new_address() {
        let mut table = table(&["t1"]);
        let first = table.tenant("t1").unwrap().generation;
        let mut renamed = route("t1");
        renamed.tenant_name = "New".into();
        assert!(table.update(&ids(&["t1"]), vec![renamed]).retired.is_empty());
        assert_eq!(table.tenant("t1").unwrap().generation, first);
        let mut rotated = route("t1");
        rotated.database.username = "t1_b".into();
        let changes = table.update(&ids(&["t1"]), vec![rotated]);
        let now = table.tenant("t1").unwrap().generation;
        assert!(now > first);
        assert_eq!(changes.retired[0].1, now);
    }
}
