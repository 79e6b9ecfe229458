package peers; class X {}
