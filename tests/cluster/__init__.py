"""A province's engines on one machine: two PostgreSQL under Patroni with etcd, HAProxy, PgBouncer, two nodes of xds."""
