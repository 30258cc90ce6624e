//! The kinds of records a company holds, and what each is called where.

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Person,
    Organization,
    Deal,
    Activity,
    Product,
    Pipeline,
    Stage,
    Note,
    /// Known outside by a UUID, inside by an ordinal like all others.
    Lead,
    /// A product attached to a deal.
    DealProduct,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Person,
        Self::Organization,
        Self::Deal,
        Self::Activity,
        Self::Product,
        Self::Pipeline,
        Self::Stage,
        Self::Note,
        Self::Lead,
        Self::DealProduct,
    ];

    /// Kinds that v2 serves as lists of their own.
    pub(super) const V2: [Self; 7] = [
        Self::Person,
        Self::Organization,
        Self::Deal,
        Self::Activity,
        Self::Product,
        Self::Pipeline,
        Self::Stage,
    ];

    /// Name in webhooks, search and recents.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Organization => "organization",
            Self::Deal => "deal",
            Self::Activity => "activity",
            Self::Product => "product",
            Self::Pipeline => "pipeline",
            Self::Stage => "stage",
            Self::Note => "note",
            Self::Lead => "lead",
            Self::DealProduct => "deal_product",
        }
    }

    /// Name in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Person => "persons",
            Self::Organization => "organizations",
            Self::Deal => "deals",
            Self::Activity => "activities",
            Self::Product => "products",
            Self::Pipeline => "pipelines",
            Self::Stage => "stages",
            Self::Note => "notes",
            Self::Lead => "leads",
            Self::DealProduct => "deal_products",
        }
    }

    /// Name at the start of an error message.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Person => "Person",
            Self::Organization => "Organization",
            Self::Deal => "Deal",
            Self::Activity => "Activity",
            Self::Product => "Product",
            Self::Pipeline => "Pipeline",
            Self::Stage => "Stage",
            Self::Note => "Note",
            Self::Lead => "Lead",
            Self::DealProduct => "Deal product",
        }
    }

    /// Reads a singular or plural name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.singular() == name || kind.plural() == name)
    }

    /// The kind whose fields this kind uses: leads share the deals'.
    pub(super) fn field_owner(self) -> Self {
        if self == Self::Lead { Self::Deal } else { self }
    }

    /// The field by which other records point to this kind.
    pub(super) fn link(self) -> Option<&'static str> {
        match self {
            Self::Person => Some("person_id"),
            Self::Organization => Some("org_id"),
            Self::Deal => Some("deal_id"),
            Self::Lead => Some("lead_id"),
            Self::Product => Some("product_id"),
            Self::Activity | Self::Pipeline | Self::Stage | Self::Note | Self::DealProduct => None,
        }
    }

    pub(super) fn has_custom_fields(self) -> bool {
        matches!(self, Self::Person | Self::Organization | Self::Deal | Self::Product | Self::Lead)
    }

    /// Kinds with followers.
    pub(super) fn is_followed(self) -> bool {
        matches!(self, Self::Person | Self::Organization | Self::Deal | Self::Product)
    }

    /// Kinds with a changelog.
    pub(super) fn is_logged(self) -> bool {
        matches!(self, Self::Person | Self::Organization | Self::Deal)
    }

    /// Kinds whose times carry milliseconds.
    pub(super) fn has_millis(self) -> bool {
        self == Self::Lead
    }
}
