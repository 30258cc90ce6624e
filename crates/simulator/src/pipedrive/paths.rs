//! Which paths there are, what each costs, and which scopes open it: one table.
//!
//! Source: Pipedrive's `OpenAPI` documents v1 and v2, `x-token-cost` and security of each operation.

use super::kind::Kind;
use super::routes::Routes;
use super::{
    attached, beside, comments, entities, feeds, fields_api, fields_v1, files, filters, followers,
    list, merge, participants, pricing, relationships, retired, search, small, subscriptions, v1,
};

impl Routes {
    pub(super) fn entities(&mut self) {
        self.add(
            2,
            "GET deals/archived",
            Kind::Deal,
            20,
            &["deals:read", "deals:full"],
            list::archived,
        );
        for kind in Kind::V2 {
            let (read, write) = scopes(kind);
            let list_cost = if matches!(kind, Kind::Pipeline | Kind::Stage) { 5 } else { 10 };
            let (all, one) = (kind.plural(), format!("{}/{{}}", kind.plural()));
            self.add_at(2, "GET", all, kind, list_cost, read, list::list);
            self.add_at(2, "POST", all, kind, 5, write, entities::create);
            self.add_at(2, "GET", &one, kind, 1, read, entities::get);
            self.add_at(2, "PATCH", &one, kind, 5, write, entities::change);
            self.add_at(2, "DELETE", &one, kind, 3, write, entities::delete);
        }
    }

    pub(super) fn fields(&mut self) {
        let scopes: [(Kind, &[&str], &[&str]); 4] = [
            (
                Kind::Deal,
                &["deals:read", "deals:full", "deal-fields:full", "admin"],
                &["deal-fields:full", "admin"],
            ),
            (
                Kind::Person,
                &["contacts:read", "contacts:full", "contact-fields:full", "admin"],
                &["contact-fields:full", "admin"],
            ),
            (
                Kind::Organization,
                &["contacts:read", "contacts:full", "contact-fields:full", "admin"],
                &["contact-fields:full", "admin"],
            ),
            (
                Kind::Product,
                &["products:read", "products:full", "product-fields:full", "admin"],
                &["product-fields:full", "admin"],
            ),
        ];
        for (kind, read, write) in scopes {
            let all = format!("{}Fields", kind.singular());
            let (one, options) = (format!("{all}/{{}}"), format!("{all}/{{}}/options"));
            self.add_at(2, "GET", &all, kind, 10, read, fields_api::list);
            self.add_at(2, "POST", &all, kind, 5, write, fields_api::create);
            self.add_at(2, "GET", &one, kind, 1, read, fields_api::get);
            self.add_at(2, "PATCH", &one, kind, 5, write, fields_api::change);
            self.add_at(2, "DELETE", &one, kind, 3, write, fields_api::delete);
            self.add_at(2, "POST", &options, kind, 5, write, fields_api::add_options);
            self.add_at(2, "PATCH", &options, kind, 5, write, fields_api::change_options);
            self.add_at(2, "DELETE", &options, kind, 3, write, fields_api::delete_options);
        }
        self.add(2, "GET activityFields", Kind::Activity, 10, &["admin"], fields_api::list);
        self.add(2, "GET activityFields/{}", Kind::Activity, 1, &["admin"], fields_api::get);
    }

    pub(super) fn users(&mut self) {
        let read = &["users:read", "admin"];
        self.add(1, "GET users", Kind::Person, 20, read, small::users);
        self.add(1, "GET users/me", Kind::Person, 2, &["base", "users:read", "admin"], small::me);
        self.add(1, "GET users/find", Kind::Person, 40, read, small::find_users);
        self.add(1, "GET users/{}", Kind::Person, 2, read, small::user);
        self.add(1, "GET currencies", Kind::Person, 20, &["base"], small::currencies);
        self.add(
            1,
            "GET activityTypes",
            Kind::Activity,
            20,
            &["activities:read", "activities:full", "admin"],
            small::activity_types,
        );
        for (route, cost, run) in [
            ("POST activityTypes", 10, small::add_activity_type as super::routes::Handler),
            ("PUT activityTypes/{}", 10, small::change_activity_type),
            ("DELETE activityTypes/{}", 6, small::delete_activity_type),
        ] {
            self.add(1, route, Kind::Activity, cost, &["admin"], run);
        }
        self.add(1, "GET users/{}/permissions", Kind::Person, 10, read, small::permissions);
        self.add(1, "GET users/{}/roleAssignments", Kind::Person, 10, read, small::assignments);
        self.add(1, "GET users/{}/roleSettings", Kind::Person, 10, read, small::role_settings);
        self.add(1, "GET userSettings", Kind::Person, 2, &["base"], small::user_settings);
        self.add(1, "GET userConnections", Kind::Person, 20, &["base"], small::connections);
        self.add(1, "GET roles", Kind::Person, 20, &["admin"], small::roles);
        self.add(1, "GET roles/{}", Kind::Person, 2, &["admin"], small::role);
        self.add(1, "GET permissionSets", Kind::Person, 20, &["admin"], small::permission_sets);
    }

    pub(super) fn searches(&mut self) {
        let kinds = [Kind::Person, Kind::Organization, Kind::Deal, Kind::Product, Kind::Lead];
        for kind in kinds {
            let (read, _) = scopes(kind);
            let scopes: Vec<&str> = read.iter().copied().chain(["search:read"]).collect();
            let path = format!("{}/search", kind.plural());
            self.add_at(2, "GET", &path, kind, 20, &scopes, search::of_kind).is_search = true;
        }
        self.add(2, "GET itemSearch", Kind::Person, 20, &["search:read"], search::items)
            .is_search = true;
        self.add(2, "GET itemSearch/field", Kind::Person, 20, &["search:read"], search::by_field)
            .is_search = true;
    }

    pub(super) fn attached(&mut self) {
        let (read, write) = scopes(Kind::DealProduct);
        let kind = Kind::Deal;
        self.add(2, "GET deals/products", kind, 10, read, attached::products_of_deals);
        self.add(2, "GET deals/{}/products", kind, 10, read, attached::products);
        self.add(2, "POST deals/{}/products", kind, 5, write, attached::add_product);
        self.add(2, "DELETE deals/{}/products", kind, 15, write, attached::delete_products);
        self.add(2, "POST deals/{}/products/bulk", kind, 25, write, attached::add_products);
        self.add(2, "PATCH deals/{}/products/{}", kind, 5, write, attached::change_product);
        self.add(2, "DELETE deals/{}/products/{}", kind, 3, write, attached::delete_product);
        self.add(
            2,
            "POST leads/{}/convert/deal",
            Kind::Lead,
            40,
            &["leads:full"],
            merge::lead_to_deal,
        );
        self.add(
            2,
            "GET leads/{}/convert/status/{}",
            Kind::Lead,
            1,
            &["leads:read", "leads:full"],
            merge::conversion,
        );
        self.add(
            2,
            "POST deals/{}/convert/lead",
            Kind::Deal,
            40,
            &["deals:full"],
            merge::deal_to_lead,
        );
        self.add(
            2,
            "GET deals/{}/convert/status/{}",
            Kind::Deal,
            1,
            &["deals:read", "deals:full"],
            merge::conversion,
        );
    }

    /// What is tied to records: followers, participants, comments.
    pub(super) fn tied(&mut self) {
        for kind in Kind::V2.into_iter().filter(|kind| kind.is_followed()) {
            let (read, write) = scopes(kind);
            let all = format!("{}/{{}}/followers", kind.plural());
            let (one, log) = (format!("{all}/{{}}"), format!("{all}/changelog"));
            self.add_at(2, "GET", &all, kind, 10, read, followers::list);
            self.add_at(2, "GET", &log, kind, 10, read, followers::changelog);
            self.add_at(2, "POST", &all, kind, 5, write, followers::follow);
            self.add_at(2, "DELETE", &one, kind, 3, write, followers::unfollow);
            self.add_at(1, "GET", &all, kind, 20, read, followers::v1_list);
            self.add_at(1, "POST", &all, kind, 10, write, followers::v1_follow);
            self.add_at(1, "DELETE", &one, kind, 6, write, followers::v1_unfollow);
        }
        let read = &["users:read", "admin"];
        self.add(2, "GET users/{}/followers", Kind::Person, 10, read, followers::of_user);
        self.add(1, "GET users/{}/followers", Kind::Person, 20, read, followers::of_user);
        let (kind, (read, write)) = (Kind::Deal, scopes(Kind::Deal));
        self.add(1, "GET deals/{}/participants", kind, 10, read, participants::list);
        self.add(1, "POST deals/{}/participants", kind, 10, write, participants::add);
        self.add(1, "DELETE deals/{}/participants/{}", kind, 6, write, participants::remove);
        self.add(1, "GET deals/{}/participantsChangelog", kind, 10, read, participants::changelog);
        let (kind, (read, write)) = (Kind::Note, scopes(Kind::Note));
        self.add(1, "GET notes/{}/comments", kind, 20, read, comments::list);
        self.add(1, "POST notes/{}/comments", kind, 10, write, comments::add);
        self.add(1, "GET notes/{}/comments/{}", kind, 2, read, comments::get);
        self.add(1, "PUT notes/{}/comments/{}", kind, 10, write, comments::change);
        self.add(1, "DELETE notes/{}/comments/{}", kind, 6, write, comments::delete);
    }

    /// Files, filters, relationships, copies, and lists beside a record.
    pub(super) fn beside(&mut self) {
        let read = &[
            "deals:read",
            "deals:full",
            "activities:read",
            "activities:full",
            "contacts:read",
            "contacts:full",
        ];
        let write = &["deals:full", "activities:full", "contacts:full"];
        let kind = Kind::Deal;
        self.add(1, "GET files", kind, 20, read, files::list);
        self.add(1, "POST files", kind, 10, write, files::add);
        self.add(1, "GET files/{}", kind, 2, read, files::get);
        self.add(1, "PUT files/{}", kind, 10, write, files::change);
        self.add(1, "DELETE files/{}", kind, 6, write, files::delete);
        self.add(1, "GET files/{}/download", kind, 20, read, files::download);
        self.add(1, "GET filters", kind, 20, read, filters::list);
        self.add(1, "POST filters", kind, 10, write, filters::add);
        self.add(1, "DELETE filters", kind, 10, write, filters::delete_many);
        self.add(1, "GET filters/helpers", kind, 20, read, filters::helpers);
        self.add(1, "GET filters/{}", kind, 2, read, filters::get);
        self.add(1, "PUT filters/{}", kind, 10, write, filters::change);
        self.add(1, "DELETE filters/{}", kind, 6, write, filters::delete);
        let (kind, (read, write)) = (Kind::Organization, scopes(Kind::Organization));
        self.add(1, "GET organizationRelationships", kind, 20, read, relationships::list);
        self.add(1, "POST organizationRelationships", kind, 10, write, relationships::add);
        self.add(1, "GET organizationRelationships/{}", kind, 2, read, relationships::get);
        self.add(1, "PUT organizationRelationships/{}", kind, 10, write, relationships::change);
        self.add(1, "DELETE organizationRelationships/{}", kind, 6, write, relationships::delete);
        for kind in [Kind::Deal, Kind::Person, Kind::Organization, Kind::Product] {
            let (read, _) = scopes(kind);
            let path = format!("{}/{{}}/files", kind.plural());
            self.add_at(1, "GET", &path, kind, 20, read, files::of_record);
        }
        for kind in [Kind::Deal, Kind::Person, Kind::Organization] {
            let path = format!("{}/{{}}/mailMessages", kind.plural());
            self.add_at(
                1,
                "GET",
                &path,
                kind,
                20,
                &["mail:read", "mail:full"],
                beside::mail_messages,
            );
        }
        self.deals_beside();
        let (kind, (read, write)) = (Kind::Product, scopes(Kind::Product));
        self.add(1, "GET products/{}/deals", kind, 20, read, beside::deals_of_product);
        self.add(2, "POST products/{}/duplicate", kind, 5, write, beside::duplicate_product);
        self.add(2, "GET products/{}/variations", kind, 10, read, pricing::variations);
        self.add(2, "POST products/{}/variations", kind, 5, write, pricing::add_variation);
        self.add(2, "PATCH products/{}/variations/{}", kind, 5, write, pricing::change_variation);
        self.add(2, "DELETE products/{}/variations/{}", kind, 3, write, pricing::delete_variation);
    }

    fn deals_beside(&mut self) {
        let (kind, (read, write)) = (Kind::Deal, scopes(Kind::Deal));
        self.add(1, "GET deals/archived", kind, 40, read, beside::archived);
        self.add(1, "GET deals/summary", kind, 40, read, beside::summary);
        self.add(1, "POST deals/{}/duplicate", kind, 10, write, beside::duplicate_deal);
        self.add(1, "GET persons/{}/products", Kind::Person, 20, read, beside::products_of_person);
        self.add(1, "GET pipelines/{}/deals", Kind::Pipeline, 20, read, beside::deals_in_place);
        self.add(1, "GET stages/{}/deals", Kind::Stage, 20, read, beside::deals_in_place);
        self.add(2, "GET deals/{}/discounts", kind, 10, read, pricing::discounts);
        self.add(2, "POST deals/{}/discounts", kind, 5, write, pricing::add_discount);
        self.add(2, "PATCH deals/{}/discounts/{}", kind, 5, write, pricing::change_discount);
        self.add(2, "DELETE deals/{}/discounts/{}", kind, 3, write, pricing::delete_discount);
        self.add(2, "GET deals/installments", kind, 10, read, pricing::installments);
        self.add(2, "POST deals/{}/installments", kind, 5, write, pricing::add_installment);
        self.add(2, "PATCH deals/{}/installments/{}", kind, 5, write, pricing::change_installment);
        self.add(2, "DELETE deals/{}/installments/{}", kind, 3, write, pricing::delete_installment);
    }

    pub(super) fn v1(&mut self) {
        let (read, write) = scopes(Kind::Note);
        self.add(1, "GET notes", Kind::Note, 20, read, v1::notes);
        self.add(1, "POST notes", Kind::Note, 10, write, v1::create_note);
        self.add(1, "GET notes/{}", Kind::Note, 2, read, v1::get_note);
        self.add(1, "PUT notes/{}", Kind::Note, 10, write, v1::change_note);
        self.add(1, "DELETE notes/{}", Kind::Note, 6, write, v1::delete_note);
        let (read, write) = scopes(Kind::Lead);
        self.add(1, "GET leads", Kind::Lead, 20, read, v1::leads);
        self.add(1, "GET leads/archived", Kind::Lead, 40, read, v1::archived_leads);
        self.add(1, "POST leads", Kind::Lead, 10, write, v1::create_lead);
        self.add(1, "GET leads/{}", Kind::Lead, 2, read, v1::get_lead);
        self.add(1, "PATCH leads/{}", Kind::Lead, 10, write, v1::change_lead);
        self.add(1, "DELETE leads/{}", Kind::Lead, 6, write, v1::delete_lead);
        self.add(1, "GET leadLabels", Kind::Lead, 10, read, v1::lead_labels);
        self.add(1, "POST leadLabels", Kind::Lead, 10, write, v1::create_lead_label);
        self.add(1, "PATCH leadLabels/{}", Kind::Lead, 10, write, v1::change_lead_label);
        self.add(1, "DELETE leadLabels/{}", Kind::Lead, 6, write, v1::delete_lead_label);
        self.add(1, "GET leads/search", Kind::Lead, 40, read, search::by_offset).is_search = true;
        self.add(1, "GET leadSources", Kind::Lead, 2, read, v1::lead_sources);
        self.add(1, "GET recents", Kind::Person, 20, &["recents:read"], feeds::recents);
        // Version 2 of the paths was seen to answer too, though only v1 has them in its document.
        for version in [1, 2] {
            self.add(version, "GET webhooks", Kind::Person, 10, &["admin"], subscriptions::list);
            self.add(version, "POST webhooks", Kind::Person, 10, &["admin"], subscriptions::create);
            self.add(
                version,
                "DELETE webhooks/{}",
                Kind::Person,
                6,
                &["admin"],
                subscriptions::delete,
            );
        }
    }

    pub(super) fn v1_entities(&mut self) {
        for kind in [Kind::Deal, Kind::Person, Kind::Organization, Kind::Product, Kind::Lead] {
            let (read, _) = scopes(kind);
            let path = format!("{}/{{}}/permittedUsers", kind.plural());
            self.add_at(1, "GET", &path, kind, 10, read, v1::permitted_users);
        }
        for kind in Kind::V2.into_iter().filter(|kind| kind.is_logged()) {
            let (read, write) = scopes(kind);
            self.add_at(
                1,
                "GET",
                &format!("{}/{{}}/flow", kind.plural()),
                kind,
                40,
                read,
                feeds::flow,
            );
            self.add_at(
                1,
                "GET",
                &format!("{}/{{}}/changelog", kind.plural()),
                kind,
                20,
                read,
                feeds::changelog,
            );
            self.add_at(
                1,
                "PUT",
                &format!("{}/{{}}/merge", kind.plural()),
                kind,
                40,
                write,
                merge::merge,
            );
        }
        for kind in [
            Kind::Person,
            Kind::Organization,
            Kind::Deal,
            Kind::Product,
            Kind::Activity,
            Kind::Note,
            Kind::Lead,
        ] {
            let (read, _) = scopes(kind);
            let (all, one) =
                (format!("{}Fields", kind.singular()), format!("{}Fields/{{}}", kind.singular()));
            self.add_at(1, "GET", &all, kind, 20, read, fields_v1::list);
            if !kind.has_custom_fields() || kind == Kind::Lead {
                continue;
            }
            let write = &[&format!("{}-fields:full", family(kind)), "admin"];
            self.add_at(1, "GET", &one, kind, 2, read, fields_v1::get);
            self.add_at(1, "POST", &all, kind, 10, write, fields_v1::create);
            self.add_at(1, "PUT", &one, kind, 10, write, fields_v1::change);
            self.add_at(1, "DELETE", &one, kind, 6, write, fields_v1::delete);
            self.add_at(1, "DELETE", &all, kind, 10, write, fields_v1::delete_many);
        }
        for kind in Kind::V2 {
            let (read, write) = scopes(kind);
            let (all, one) = (kind.plural(), format!("{}/{{}}", kind.plural()));
            let calls: [(&'static str, &str, u64, &[&str], super::routes::Handler); 5] = [
                ("GET", all, 20, read, retired::list),
                ("POST", all, 10, write, retired::create),
                ("GET", &one, 2, read, retired::get),
                ("PUT", &one, 10, write, retired::change),
                ("DELETE", &one, 6, write, entities::delete),
            ];
            for (method, path, cost, scopes, run) in calls {
                self.add_at(1, method, path, kind, cost, scopes, run).is_retired = true;
            }
        }
        self.retired_lists();
    }

    /// Searches and nested lists of v1.
    fn retired_lists(&mut self) {
        for kind in [Kind::Person, Kind::Organization, Kind::Deal, Kind::Product] {
            let (read, _) = scopes(kind);
            let path = format!("{}/search", kind.plural());
            let route = self.add_at(1, "GET", &path, kind, 40, read, search::by_offset);
            (route.is_search, route.is_retired) = (true, true);
        }
        let items = self.add(
            1,
            "GET itemSearch",
            Kind::Person,
            40,
            &["search:read"],
            search::items_by_offset,
        );
        (items.is_search, items.is_retired) = (true, true);
        let (read, write) = scopes(Kind::DealProduct);
        let path = "deals/{}/products";
        let rows = self.add_at(1, "GET", path, Kind::Deal, 20, read, attached::old_products);
        rows.is_retired = true;
        let rows = self.add_at(1, "POST", path, Kind::Deal, 10, write, attached::add_old_product);
        rows.is_retired = true;
        let lists: [(Kind, &str, super::routes::Handler); 6] = [
            (Kind::Person, "deals", retired::deals_of),
            (Kind::Organization, "deals", retired::deals_of),
            (Kind::Person, "activities", retired::activities_of),
            (Kind::Organization, "activities", retired::activities_of),
            (Kind::Deal, "activities", retired::activities_of),
            (Kind::Organization, "persons", retired::persons_of),
        ];
        for (kind, list, run) in lists {
            let (read, _) = scopes(kind);
            let path = format!("{}/{{}}/{list}", kind.plural());
            self.add_at(1, "GET", &path, kind, 20, read, run).is_retired = true;
        }
    }
}

/// The word for a kind in the scopes of its fields.
fn family(kind: Kind) -> &'static str {
    match kind {
        Kind::Person | Kind::Organization => "contact",
        Kind::Product => "product",
        Kind::Deal
        | Kind::Activity
        | Kind::Pipeline
        | Kind::Stage
        | Kind::Note
        | Kind::Lead
        | Kind::DealProduct => "deal",
    }
}

/// Scopes that read a kind, scopes that write it.
pub(super) fn scopes(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Person | Kind::Organization | Kind::Note => {
            (&["contacts:read", "contacts:full"], &["contacts:full"])
        }
        Kind::Deal => (&["deals:read", "deals:full"], &["deals:full"]),
        Kind::DealProduct => (
            &["products:read", "products:full", "deals:read", "deals:full"],
            &["products:full", "deals:full"],
        ),
        Kind::Activity => (&["activities:read", "activities:full"], &["activities:full"]),
        Kind::Product => (&["products:read", "products:full"], &["products:full"]),
        Kind::Pipeline | Kind::Stage => (&["deals:read", "deals:full", "admin"], &["admin"]),
        Kind::Lead => (&["leads:read", "leads:full"], &["leads:full"]),
    }
}
