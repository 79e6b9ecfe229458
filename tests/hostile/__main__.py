"""Writes the tables of decisions and of attacks."""

from tests.hostile import attacks, decisions

decisions.FILE.write_text(decisions.written(), "utf-8")
attacks.FILE.write_text(attacks.written(), "utf-8")
