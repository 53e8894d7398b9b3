SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)
