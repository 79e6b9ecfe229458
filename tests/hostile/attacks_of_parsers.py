"""What is read: HTTP, XML, MIME, HL7, records, addresses.  Rows of ``attacks.py``."""

from __future__ import annotations

SMUGGLED, XML, INJECTED = "test_smuggling.py::test_", "test_expansive_xml.py::test_", "test_injection.py::test_"
RECORDS, FEEDS, DOMAINS = (
    "test_hostile_records.py::test_",
    "test_hostile_feeds.py::test_",
    "journeys/test_affinity_domains.py::test_",
)
MIME, SYSLOG = "wire/test_mime.py::test_", "endpoints/test_syslog.py::test_"

PARSERS = (
    ("04", "smuggling, nineteen ways", "one", "what stands in a body is never a request, nor answered twice",
     f"{SMUGGLED}what_stands_in_a_body_is_never_a_request wire/test_worker.py::test_a_folded_header_is_refused"),
    ("04", "long headers, odd methods, zeros, another site's address", "one", "refused, nothing comes back",
     f"{SMUGGLED}odd_requests_are_refused_and_nothing_of_them_comes_back"),
    ("04", "line ends in paths and parameters", "one",
     "no header of ours", f"{SMUGGLED}nobody_writes_a_header_of_ours"),
    ("04", "a body in gzip", "one", "not unpacked", f"{SMUGGLED}a_body_that_is_packed_is_refused_and_not_unpacked"),
    ("04", "paths that lead out, eighteen ways", "one", "nothing but what is served",
     f"{SMUGGLED}no_path_leads_out_of_what_is_served"),
    ("04", "other spellings of a page that asks for an account", "one", "closed as it is",
     f"{SMUGGLED}no_other_spelling_opens_a_page_that_asks_for_an_account"),
    ("04", "a form of the console that would lead elsewhere", "one", "to pages of the console alone",
     f"{INJECTED}a_form_of_the_console_leads_to_no_other_site"),
    ("04", "a Host of the attacker's", "one", "421", "test_host_and_headers.py::"
     "test_another_name_is_told_nothing_at_any_address"),
    ("04", "entities, DTDs in UTF-16 and UTF-7, XInclude, schemaLocation, xsi:type", "one",
     "refused; nothing is fetched",
     f"{XML}what_grows_or_reaches_out_is_refused_and_fetches_nothing {XML}a_place_of_a_schema_is_not_looked_at "
     f"{XML}a_query_of_another_form_or_without_measure_is_refused"),
    ("04", "depth, namespaces, attributes, names, millions of elements", "one", "refused while it is read",
     f"{XML}what_grows_or_reaches_out_is_refused_and_fetches_nothing "
     "test_memory.py::test_very_many_elements_are_refused_without_holding_them"),
    ("04", "200,000 values in a list, 100,000 slots", "one", "a query is 64 kB at most",
     f"{XML}a_query_of_another_form_or_without_measure_is_refused"),
    ("08", "records with our name or another's", "one", "kept, marked, an alert",
     f"{SYSLOG}a_message_of_another_that_bears_our_name_is_told_by_its_origin "
     "test_who_may_send.py::test_a_record_of_another_peers_source_is_kept_marked_and_told_of"),
    ("08", "scripts, direction marks, years 1 and 9999 on the desk's pages", "one", "text, and no page fails",
     f"{RECORDS}no_page_of_the_desk_fails_or_runs_what_a_record_holds {RECORDS}each_record_has_its_page"),
    ("08", "formulas in the table to take away", "one", "none, full-width ones neither",
     f"{RECORDS}a_table_to_take_away_holds_no_formula"),
    ("08", "PDF and JSON of hostile records", "one", "whole", f"{RECORDS}they_are_taken_away_whole"),
    ("08", "control characters on the terminal", "one",
     "shown, not sent", f"{RECORDS}nothing_of_them_moves_a_terminal"),
    ("08", "DTDs, garbage, deep and huge records, 25,000 participants", "one", "kept as they came, the log verifies",
     f"{RECORDS}the_log_verifies_with_them_in_it {SYSLOG}hostile_messages_are_kept_and_not_believed"),
    ("10", "a manifest's Retrieve URL, followed by xds fetch and the console", "one",
     "only sources of the settings are called",
     "initiating/test_known_sources.py::test_and_nobody_else "
     "cli/test_fetch.py::test_a_source_that_nobody_here_has_named_is_not_called "
     "endpoints/console/test_region.py::test_a_repository_or_source_that_is_not_known_is_named"),
    ("10", "a redirect from there", "one", "followed by nobody",
     "test_redirected.py::test_images_are_not_fetched_from_where_a_source_sends_us "
     "test_redirected.py::test_no_message_goes_where_a_peer_sends_it"),
    ("10", "ReplyTo, FaultTo, To", "one", "not called", f"{XML}what_ws_addressing_names_is_not_called"),
    ("10", "addresses in xop:Include", "one", "a fault", "test_bad_messages.py::"
     "test_each_bad_envelope_gets_its_fault_and_its_documents_are_not_kept"),
    ("10", "an address in the URI slot", "one", "kept, not called",
     f"{INJECTED}an_address_in_the_metadata_is_kept_and_not_called"),
    ("11", "another's MSH-3 and MSH-4, a merge by anybody", "one", "held to the peer; the claim stands beside",
     "access/test_policy.py::test_feeds_are_taken_from_whose_role_it_is "
     "test_named_in_records.py::test_a_feed_and_what_it_claims"),
    ("11", "frames without end or beginning", "one", "nobody becomes known",
     f"{FEEDS}what_is_no_frame_makes_nobody_known"),
    ("11", "escapes, zeros, delimiters, character sets, long segments, markup", "one",
     "one answer each, the next is served",
     f"{FEEDS}what_is_odd_is_answered_once_and_says_nothing_of_ours"),
    ("11", "20,000 identifiers in one message", "one", "refused, nobody becomes known", "test_many_identifiers.py::"
     "test_a_message_of_thousands_of_identifiers_is_refused_and_makes_nobody_known"),
    ("14", "two parts of one id, no end, path as id, base64, long headers, boundaries", "one", "a fault, nothing left",
     f"{MIME}a_content_id_that_two_parts_have_is_refused "
     f"{MIME}a_message_cut_off_anywhere_is_refused_and_leaves_nothing "
     f"{MIME}other_transfer_encodings_are_refused_by_name {MIME}header_lines_that_are_too_long_are_refused "
     f"{MIME}a_start_that_names_no_part_is_refused {MIME}a_boundary_that_cannot_be_one_is_refused"),
    ("14", "a part in gzip", "one", "not unpacked", f"{INJECTED}a_part_that_says_it_is_packed_is_kept_as_it_came"),
    ("14", "a part included twice, or nowhere", "one", "a fault",
     "wire/test_xop.py::test_a_part_is_included_once "
     "wire/test_xop.py::test_a_reference_that_leads_nowhere_is_refused_without_being_repeated"),
    ("14", "12,000 parts", "one", "so many and no more", "test_bad_messages.py::test_100_000_parts_are_too_many"),
    ("14", "chunks of a byte", "300,000 (20,000)", "read or refused while others are served",
     "test_floods.py::test_chunks_of_a_byte_are_read_or_refused"),
    ("14", "line ends in a document's media type", "one", "no header of a part",
     f"{INJECTED}a_media_type_writes_no_header_of_a_part"),
    ("14", "one domain's documents found, got, removed by another's address", "one", "they are not there",
     f"{DOMAINS}what_one_domain_has_the_other_does_not_find {DOMAINS}a_document_is_retrieved_from_its_own_domain_only "
     f"{DOMAINS}a_domain_that_nobody_has_configured_is_not_there "
     f"{DOMAINS}the_same_submission_may_be_in_both_and_each_has_its_own_fate"),
    ("15", "merges in a circle, long chains", "one", "refused; followed to the end",
     f"{FEEDS}merges_that_would_form_a_circle_are_refused_and_long_chains_end "
     "actors/test_merged_patients.py::test_merges_never_form_a_circle_however_many_come_at_once"),
    ("15", "associations in a circle", "one", "refused in a message; found once where they came alone",
     "rules/test_submission.py::test_no_document_is_related_to_itself_nor_by_way_of_others "
     "test_circles.py::test_a_circle_of_associations_is_refused_or_found_without_going_round"),
)  # fmt: skip
