//! Who may sign in, by password or with a token, and what people did. Not part of any route: no lease is needed.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, Order, QueryFilter, QueryOrder, QuerySelect,
};
use serde::{Deserialize, Serialize};

use super::route::upsert;
use super::tables::{api_token, person, trail, web_session};
use super::{Store, StoreError, codec};

/// What somebody may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Decides conflicts.
    Reviewer,
    /// Starts, approves and takes back runs.
    Operator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Reviewer, Self::Operator];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Reviewer => "reviewer",
            Self::Operator => "operator",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no role; write viewer, reviewer or operator"))
    }
}

/// Somebody who signs in with a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    pub name: String,
    pub role: Role,
    /// A PHC string: never the password.
    #[serde(skip)]
    pub password: String,
    pub created_at: DateTime<Utc>,
}

/// A program that signs in with a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiToken {
    pub name: String,
    pub role: Role,
    /// Of the token, which is nowhere.
    #[serde(skip)]
    pub digest: String,
    pub created_at: DateTime<Utc>,
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deed {
    pub at: DateTime<Utc>,
    pub who: String,
    /// Such as `decide` or `approve`.
    pub action: String,
    pub subject: String,
}

impl Store {
    /// Everybody who may sign in with a password, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn people(&self) -> Result<Vec<Person>, StoreError> {
        let find = person::Entity::find().order_by_asc(person::Column::Name);
        find.all(&self.pools.reader).await?.into_iter().map(a_person).collect()
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn person(&self, name: &str) -> Result<Option<Person>, StoreError> {
        let row = person::Entity::find_by_id(name).one(&self.pools.reader).await?;
        row.map(a_person).transpose()
    }

    /// Adds or replaces somebody. Sign-ins under the name end.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn save_person(&self, saved: &Person) -> Result<(), StoreError> {
        use person::Column as C;
        let row = person::Model {
            name: saved.name.clone(),
            role: saved.role.as_str().to_owned(),
            password: saved.password.clone(),
            created_at: codec::micros(saved.created_at),
        };
        let tx = self.begin().await?;
        upsert(&tx, vec![row], &[C::Name], &[C::Role, C::Password, C::CreatedAt]).await?;
        web_session::Entity::delete_many()
            .filter(web_session::Column::Person.eq(saved.name.as_str()))
            .exec(&tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Removes somebody and ends their sign-ins; answers whether there was anybody.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn remove_person(&self, name: &str) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        web_session::Entity::delete_many()
            .filter(web_session::Column::Person.eq(name))
            .exec(&tx)
            .await?;
        let removed = person::Entity::delete_by_id(name).exec(&tx).await?;
        tx.commit().await?;
        Ok(removed.rows_affected > 0)
    }

    /// Keeps a sign-in until `expires_at`, and forgets those that ended.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn save_session(
        &self,
        digest: &str,
        person: &str,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        use web_session::Column as C;
        let row = web_session::Model {
            digest: digest.to_owned(),
            person: person.to_owned(),
            expires_at: codec::micros(expires_at),
        };
        let tx = self.begin().await?;
        web_session::Entity::delete_many()
            .filter(C::ExpiresAt.lte(codec::micros(now)))
            .exec(&tx)
            .await?;
        upsert(&tx, vec![row], &[C::Digest], &[C::Person, C::ExpiresAt]).await?;
        Ok(tx.commit().await?)
    }

    /// Who is signed in with a cookie, if anybody still is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn signed_in(
        &self,
        digest: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Person>, StoreError> {
        let row = web_session::Entity::find_by_id(digest).one(&self.pools.reader).await?;
        match row {
            Some(row) if row.expires_at > codec::micros(now) => self.person(&row.person).await,
            Some(_) | None => Ok(None),
        }
    }

    /// Ends a sign-in.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn end_session(&self, digest: &str) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        web_session::Entity::delete_by_id(digest).exec(&tx).await?;
        Ok(tx.commit().await?)
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let find = api_token::Entity::find().order_by_asc(api_token::Column::Name);
        find.all(&self.pools.reader).await?.into_iter().map(a_token).collect()
    }

    /// The token with a digest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn api_token(&self, digest: &str) -> Result<Option<ApiToken>, StoreError> {
        let find = api_token::Entity::find().filter(api_token::Column::Digest.eq(digest));
        find.one(&self.pools.reader).await?.map(a_token).transpose()
    }

    /// Adds or replaces a token.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn save_api_token(&self, saved: &ApiToken) -> Result<(), StoreError> {
        use api_token::Column as C;
        let row = api_token::Model {
            name: saved.name.clone(),
            role: saved.role.as_str().to_owned(),
            digest: saved.digest.clone(),
            created_at: codec::micros(saved.created_at),
        };
        let tx = self.begin().await?;
        upsert(&tx, vec![row], &[C::Name], &[C::Role, C::Digest, C::CreatedAt]).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a token; answers whether there was one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn remove_api_token(&self, name: &str) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let removed = api_token::Entity::delete_by_id(name).exec(&tx).await?;
        tx.commit().await?;
        Ok(removed.rows_affected > 0)
    }

    /// Writes down what somebody did.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn note_deed(&self, deed: &Deed) -> Result<(), StoreError> {
        let mut row = trail::Model {
            seq: 0,
            at: codec::micros(deed.at),
            who: deed.who.clone(),
            action: deed.action.clone(),
            subject: deed.subject.clone(),
        }
        .into_active_model();
        row.seq = sea_orm::ActiveValue::NotSet;
        let tx = self.begin().await?;
        trail::Entity::insert(row).exec_without_returning(&tx).await?;
        Ok(tx.commit().await?)
    }

    /// The last `limit` deeds, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn deeds(&self, limit: u64) -> Result<Vec<Deed>, StoreError> {
        let find = trail::Entity::find().order_by(trail::Column::Seq, Order::Desc).limit(limit);
        let rows = find.all(&self.pools.reader).await?;
        let deed = |row: trail::Model| {
            let at = codec::time(row.at)?;
            Ok(Deed { at, who: row.who, action: row.action, subject: row.subject })
        };
        rows.into_iter().map(deed).collect()
    }
}

fn a_person(row: person::Model) -> Result<Person, StoreError> {
    Ok(Person {
        role: role(&row.role)?,
        created_at: codec::time(row.created_at)?,
        name: row.name,
        password: row.password,
    })
}

fn a_token(row: api_token::Model) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        role: role(&row.role)?,
        created_at: codec::time(row.created_at)?,
        name: row.name,
        digest: row.digest,
    })
}

fn role(text: &str) -> Result<Role, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("a role".into(), text.to_owned()))
}
