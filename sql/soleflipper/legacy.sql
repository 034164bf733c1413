-- The SoleFlipper database as the optimization plan presumes it, before any of the plan is applied. Its foreign keys and
-- secondary indexes are in legacy_references.sql. Timestamps carry no time zone; the application writes UTC into them.
CREATE SCHEMA platform;
CREATE SCHEMA supplier;
CREATE SCHEMA catalog;
CREATE SCHEMA inventory;
CREATE SCHEMA sales;
CREATE SCHEMA financial;
CREATE SCHEMA pricing;
CREATE SCHEMA analytics;
CREATE SCHEMA logging;

CREATE TABLE platform.marketplace (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name           varchar(100) NOT NULL UNIQUE,
    slug           varchar(50)  NOT NULL UNIQUE,
    fee_percentage numeric(5,2),
    supports_fees  boolean      NOT NULL DEFAULT true,
    active         boolean      NOT NULL DEFAULT true,
    created_at     timestamp    NOT NULL DEFAULT now()
);

CREATE TABLE supplier.account (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name                 varchar(100) NOT NULL,
    email                varchar(150) NOT NULL,
    payment_provider     varchar(50),
    payment_method_token varchar(255),
    payment_method_last4 varchar(4),
    payment_method_brand varchar(20),
    status               varchar(20)  NOT NULL DEFAULT 'active',
    created_at           timestamp    NOT NULL DEFAULT now(),
    updated_at           timestamp    NOT NULL DEFAULT now()
);

CREATE TABLE catalog.category (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_id  uuid,
    name       varchar(100) NOT NULL,
    slug       varchar(100) NOT NULL UNIQUE,
    created_at timestamp    NOT NULL DEFAULT now()
);

CREATE TABLE catalog.brand (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       varchar(100) NOT NULL UNIQUE,
    slug       varchar(100) NOT NULL UNIQUE,
    created_at timestamp    NOT NULL DEFAULT now()
);

CREATE TABLE catalog.brand_patterns (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    brand_id     uuid         NOT NULL,
    pattern      varchar(255) NOT NULL,
    pattern_type varchar(50)  NOT NULL DEFAULT 'keyword',
    priority     int          NOT NULL DEFAULT 100,
    created_at   timestamp    NOT NULL DEFAULT now()
);

-- Four tables that all say what a size is.
CREATE TABLE catalog.sizes (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    category_id        uuid,
    value              varchar(20)  NOT NULL,
    standardized_value numeric(4,1),
    region             varchar(10)  NOT NULL,
    created_at         timestamp    NOT NULL DEFAULT now()
);

CREATE TABLE catalog.size_master (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    category_id uuid,
    us_value    numeric(4,1),
    eu_value    numeric(4,1),
    uk_value    numeric(4,1),
    created_at  timestamp NOT NULL DEFAULT now()
);

CREATE TABLE catalog.size_conversion (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    from_size_id uuid        NOT NULL,
    to_size_id   uuid        NOT NULL,
    confidence   numeric(3,2),
    UNIQUE (from_size_id, to_size_id)
);

CREATE TABLE catalog.product (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sku             varchar(100) NOT NULL UNIQUE,
    name            varchar(255) NOT NULL,
    brand_id        uuid,
    category_id     uuid         NOT NULL,
    retail_price    numeric(10,2),
    enrichment_data jsonb,
    created_at      timestamp    NOT NULL DEFAULT now(),
    updated_at      timestamp    NOT NULL DEFAULT now()
);

CREATE TABLE catalog.product_variant (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id uuid        NOT NULL,
    size_id    uuid,
    size_label varchar(20),                           -- the size once more, as text
    barcode    varchar(50),
    created_at timestamp   NOT NULL DEFAULT now()
);

CREATE TABLE inventory.stock (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id    uuid        NOT NULL,
    size_id       uuid,
    supplier_id   uuid,
    quantity      int         NOT NULL DEFAULT 1 CHECK (quantity >= 0),
    status        varchar(20) NOT NULL DEFAULT 'in_stock',
    purchase_date date,
    listed_stockx boolean     NOT NULL DEFAULT false,
    location      varchar(50),
    notes         text,
    version       int         NOT NULL DEFAULT 1,     -- the ORM's optimistic lock
    created_at    timestamp   NOT NULL DEFAULT now(),
    updated_at    timestamp   NOT NULL DEFAULT now()
);

-- One row per stock item, but not for every one.
CREATE TABLE inventory.stock_financial (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stock_id       uuid       NOT NULL UNIQUE,
    purchase_price numeric(10,2),
    sale_price     numeric(10,2),
    currency       varchar(3) NOT NULL DEFAULT 'EUR',
    fees           jsonb,
    updated_at     timestamp  NOT NULL DEFAULT now()
);

CREATE TABLE inventory.stock_lifecycle (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stock_id        uuid        NOT NULL UNIQUE,
    status          varchar(20) NOT NULL,
    previous_status varchar(20),
    changed_at      timestamp   NOT NULL DEFAULT now(),
    changed_by      varchar(50)
);

CREATE TABLE inventory.stock_metrics (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stock_id         uuid      NOT NULL UNIQUE,
    roi              numeric(8,2),
    profit_margin    numeric(5,2),
    days_in_stock    int,
    views            int       NOT NULL DEFAULT 0,
    last_price_check timestamp,
    updated_at       timestamp NOT NULL DEFAULT now()
);

-- Any number of rows per stock item; status stays 'active' after expires_at, nobody sweeps it.
CREATE TABLE inventory.stock_reservation (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stock_id     uuid        NOT NULL,
    reserved_qty int         NOT NULL DEFAULT 1 CHECK (reserved_qty BETWEEN 1 AND 10000),
    reserved_by  uuid        NOT NULL,
    status       varchar(20) NOT NULL DEFAULT 'active',
    expires_at   timestamp,                           -- NULL: held until it is released
    note         text,
    created_at   timestamp   NOT NULL DEFAULT now()
);

CREATE TABLE sales.listing (
    id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    inventory_item_id      uuid        NOT NULL,
    platform_id            uuid        NOT NULL,
    price                  numeric(10,2),
    currency               varchar(3)  NOT NULL DEFAULT 'EUR',
    status                 varchar(20) NOT NULL DEFAULT 'active',
    platform_specific_data jsonb,
    created_at             timestamp   NOT NULL DEFAULT now()
);

CREATE TABLE sales."order" (
    id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    external_id            varchar(100) UNIQUE,       -- the marketplace's order number
    inventory_item_id      uuid,
    platform_id            uuid          NOT NULL,
    status                 varchar(20)   NOT NULL DEFAULT 'pending',
    sold_at                timestamp,
    gross_sale             numeric(10,2) NOT NULL,
    platform_fee           numeric(10,2),
    net_profit             numeric(10,2),
    roi                    numeric(8,2),
    currency               varchar(3)    NOT NULL DEFAULT 'EUR',
    platform_specific_data jsonb,
    created_at             timestamp     NOT NULL DEFAULT now(),
    updated_at             timestamp     NOT NULL DEFAULT now()
);

-- The other ledger of the same sales: typed in, imported, or written beside the order.
CREATE TABLE financial.transaction (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    external_id       varchar(100),                   -- NULL, repeated, or written differently
    inventory_item_id uuid,
    platform_id       uuid          NOT NULL,
    transaction_date  timestamp     NOT NULL,
    status            varchar(20)   NOT NULL DEFAULT 'completed',
    amount            numeric(10,2) NOT NULL,
    platform_fee      numeric(10,2),
    net_profit        numeric(10,2),
    roi               numeric(12,2),                  -- wider than sales."order".roi
    currency          varchar(3),
    buyer_email       varchar(150),
    card_token        varchar(64),
    notes             text,
    created_at        timestamp     NOT NULL DEFAULT now()
);

CREATE TABLE sales.pricing_history (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    listing_id uuid          NOT NULL,
    old_price  numeric(10,2),
    new_price  numeric(10,2) NOT NULL,
    reason     varchar(100),
    changed_at timestamp     NOT NULL DEFAULT now()
);

CREATE TABLE pricing.price_history (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id        uuid          NOT NULL,
    inventory_item_id uuid,
    platform_id       uuid          NOT NULL,
    price             numeric(10,2) NOT NULL,
    price_type        varchar(50),
    created_at        timestamp     NOT NULL DEFAULT now()
);

CREATE TABLE analytics.marketplace_data (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    inventory_item_id uuid,
    platform_id       uuid        NOT NULL,
    ask_price         numeric(10,2),
    bid_price         numeric(10,2),
    currency          varchar(3)  NOT NULL DEFAULT 'USD',
    platform_specific jsonb,
    collected_at      timestamp   NOT NULL DEFAULT now()
);

CREATE TABLE analytics.sales_forecasts (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id      uuid      NOT NULL,
    forecast_date   date      NOT NULL,
    predicted_units numeric(10,2),
    confidence      numeric(5,4),
    model           varchar(50),
    created_at      timestamp NOT NULL DEFAULT now()
);

CREATE TABLE logging.event_store (
    id           bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    event_type   varchar(100) NOT NULL,
    aggregate_id uuid,
    payload      jsonb        NOT NULL,
    created_at   timestamp    NOT NULL DEFAULT now()
);
