"""Gauges as Prometheus reads them."""

from __future__ import annotations

from xds.wire.gauges import gauge


def test_a_value_stands_under_its_labels_whatever_they_say() -> None:
    text = gauge("xds_x", "Of a file.", [({"kind": "crl", "file": 'a"b\\c\nd'}, 3), ({}, 1.5)])
    assert text == (
        '# HELP xds_x Of a file.\n# TYPE xds_x gauge\nxds_x{kind="crl",file="a\\"b\\\\c\\nd"} 3\nxds_x 1.5\n'
    )


def test_without_a_value_nothing_is_said() -> None:
    assert gauge("xds_x", "Of nobody.", []) == ""
