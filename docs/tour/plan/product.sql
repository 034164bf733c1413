SELECT a.mandant AS tenant, a."Nr" AS sku, a."Bezeichnung" AS title, p."Betrag" AS price, p."Währung" AS currency,
       coalesce(b.quantity, 0) AS quantity, b.places
  FROM "Lager"."Artikel" a
  LEFT JOIN "Lager"."Preis" p ON p.mandant = a.mandant AND p."ArtikelNr" = a."Nr"
  LEFT JOIN (
    SELECT mandant, "ArtikelNr", sum("Menge") AS quantity, string_agg("Lagerort", ', ' ORDER BY "Lagerort") AS places
      FROM "Lager"."Bestand"
     GROUP BY mandant, "ArtikelNr"
  ) b ON b.mandant = a.mandant AND b."ArtikelNr" = a."Nr"
