CREATE TABLE "Lager".product (
    tenant   text NOT NULL,
    sku      text NOT NULL,
    title    text NOT NULL,
    price    numeric(12,2),
    currency varchar(3),
    quantity bigint NOT NULL,
    places   text,
    PRIMARY KEY (tenant, sku)
);
