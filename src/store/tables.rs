//! The tables, one module each: plain rows, no meaning. Times are microseconds since 1970, UTC.
#![expect(unreachable_pub, reason = "sea-orm's derives make public items of private rows")]

macro_rules! table {
    ($(#[$doc:meta])* $table:ident = $name:literal { $($(#[$attr:meta])* $column:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        pub(super) mod $table {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $name)]
            pub struct Model {
                $($(#[$attr])* pub $column: $kind,)*
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

table! {
    /// One entity of one route, as a short number that every other table carries.
    scope = "scope" {
        #[sea_orm(primary_key)]
        id: i32,
        route: String,
        entity: String,
    }
}

table! {
    /// Who may write a route.
    lease = "lease" {
        #[sea_orm(primary_key, auto_increment = false)]
        route: String,
        holder: String,
        epoch: i64,
        until: i64,
    }
}

table! {
    /// `RouteMeta` as JSON.
    route_meta = "route_meta" {
        #[sea_orm(primary_key, auto_increment = false)]
        route: String,
        body: String,
    }
}

table! {
    /// `Cursor` as JSON.
    cursor = "cursor" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        body: String,
    }
}

table! {
    /// `Observation`; `match_keys`, `unreturned` and `fields` are JSON.
    observation = "observation" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        record: String,
        module: String,
        presence: i16,
        in_scope: bool,
        external: Option<String>,
        modified_at: Option<i64>,
        corrected_at: Option<i64>,
        hash: String,
        epoch: i64,
        match_keys: String,
        unreturned: String,
        fields: String,
    }
}

table! {
    /// One match key of one observation.
    match_key = "match_key" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        match_key: String,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        record: String,
    }
}

table! {
    /// A subject that the next plan must look at.
    attention = "attention" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        subject: String,
    }
}

table! {
    /// `Tombstone` as JSON.
    tombstone = "tombstone" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        record: String,
        body: String,
    }
}

table! {
    /// `Dirty`; `code` is set while the record is X.
    dirty = "dirty" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        record: String,
        reason: String,
        code: Option<String>,
        attempts: i32,
        missing_since: Option<i64>,
        next_at: i64,
    }
}

table! {
    /// `Link`; `baseline` is JSON.
    link = "link" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        left_record: Option<String>,
        right_record: Option<String>,
        state: i16,
        left_stamp: Option<i64>,
        right_stamp: Option<i64>,
        baseline: String,
    }
}

table! {
    /// One end of a live link.
    link_end = "link_end" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        record: String,
        link: String,
    }
}

table! {
    /// One end of a link that lives no more.
    former_end = "former_end" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        record: String,
        #[sea_orm(primary_key, auto_increment = false)]
        link: String,
    }
}

table! {
    /// `Intent` as JSON.
    intent = "intent" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        link: String,
        armed_at: i64,
        body: String,
    }
}

table! {
    /// `Effect` as JSON, without its number.
    effect = "effect" {
        #[sea_orm(primary_key)]
        seq: i64,
        scope: i32,
        run: String,
        link: String,
        kind: i16,
        side: i16,
        at: i64,
        body: String,
    }
}

table! {
    /// `StoredRow`; `body` is the `OpenRow` as JSON.
    open_row = "open_row" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        subject: String,
        code: String,
        link: Option<String>,
        run: String,
        first_seen: i64,
        last_seen: i64,
        closed_at: Option<i64>,
        closed_by: Option<String>,
        body: String,
    }
}

table! {
    /// `Resolution` as JSON, once for each subject of its row.
    resolution = "resolution" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        row_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        subject: String,
        body: String,
    }
}

table! {
    /// `Quarantine` as JSON; `field` is empty for the whole record.
    quarantine = "quarantine" {
        #[sea_orm(primary_key, auto_increment = false)]
        scope: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        side: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        record: String,
        #[sea_orm(primary_key, auto_increment = false)]
        field: String,
        subject: String,
        next_at: i64,
        body: String,
    }
}

table! {
    /// `RunRecord` as JSON.
    run = "run" {
        #[sea_orm(primary_key, auto_increment = false)]
        route: String,
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        started_at: i64,
        body: String,
    }
}

table! {
    /// A sealed secret, base64.
    secret = "secret" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        sealed: String,
    }
}

table! {
    /// Cached answers of a connection, as JSON.
    metadata = "metadata" {
        #[sea_orm(primary_key, auto_increment = false)]
        connection: String,
        #[sea_orm(primary_key, auto_increment = false)]
        item: String,
        fetched_at: i64,
        body: String,
    }
}

table! {
    /// What a connection spent in one window.
    budget = "budget" {
        #[sea_orm(primary_key, auto_increment = false)]
        connection: String,
        #[sea_orm(primary_key, auto_increment = false)]
        period: String,
        units: i64,
        calls: i64,
    }
}

table! {
    /// Somebody who may sign in; `password` is a PHC string.
    person = "person" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        role: String,
        password: String,
        created_at: i64,
    }
}

table! {
    /// One sign-in, by the digest of its cookie.
    web_session = "web_session" {
        #[sea_orm(primary_key, auto_increment = false)]
        digest: String,
        person: String,
        expires_at: i64,
    }
}

table! {
    /// A program's key, by its digest.
    api_token = "api_token" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        role: String,
        digest: String,
        created_at: i64,
    }
}

table! {
    /// `Message` as JSON.
    inbox = "inbox" {
        #[sea_orm(primary_key, auto_increment = false)]
        route: String,
        #[sea_orm(primary_key, auto_increment = false)]
        item: String,
        body: String,
        received_at: i64,
    }
}

table! {
    /// What a person or program did.
    trail = "trail" {
        #[sea_orm(primary_key)]
        seq: i64,
        at: i64,
        who: String,
        action: String,
        subject: String,
    }
}
