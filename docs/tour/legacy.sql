-- A legacy database in three fragments, with a key of two texts and names that need quotes.
CREATE SCHEMA "Lager";

CREATE TABLE "Lager"."Artikel" (
    mandant       text NOT NULL,
    "Nr"          text NOT NULL,
    "Bezeichnung" text NOT NULL,
    PRIMARY KEY (mandant, "Nr")
);
CREATE TABLE "Lager"."Preis" (
    mandant     text NOT NULL,
    "ArtikelNr" text NOT NULL,
    "Währung"   varchar(3) NOT NULL,
    "Betrag"    numeric(12,2) NOT NULL,
    PRIMARY KEY (mandant, "ArtikelNr"),
    FOREIGN KEY (mandant, "ArtikelNr") REFERENCES "Lager"."Artikel" ON DELETE CASCADE
);
CREATE TABLE "Lager"."Bestand" (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mandant     text NOT NULL,
    "ArtikelNr" text NOT NULL,
    "Lagerort"  text NOT NULL,
    "Menge"     int NOT NULL,
    "Zählung"   date,
    FOREIGN KEY (mandant, "ArtikelNr") REFERENCES "Lager"."Artikel" ON DELETE CASCADE
);
CREATE INDEX ON "Lager"."Bestand" (mandant, "ArtikelNr");

INSERT INTO "Lager"."Artikel"
SELECT 'nord', 'A-' || n, 'Artikel ' || n FROM generate_series(1, 1000) n;
INSERT INTO "Lager"."Preis"
SELECT 'nord', 'A-' || n, CASE WHEN n % 3 = 0 THEN 'CHF' ELSE 'EUR' END, n * 1.25 FROM generate_series(1, 900) n;
INSERT INTO "Lager"."Bestand" (mandant, "ArtikelNr", "Lagerort", "Menge")
SELECT 'nord', 'A-' || n, ort, n % 17 FROM generate_series(1, 1000) n, unnest(ARRAY['Halle 1', 'Halle 2']) ort
 WHERE n % 2 = 0;
