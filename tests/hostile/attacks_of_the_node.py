"""What keeps a node from serving: floods, slow peers, growth.  Rows of ``attacks.py``."""

from __future__ import annotations

FLOOD, GREEDY, LISTENERS = "test_floods.py::test_", "test_greedy_peers.py::test_", "test_listeners.py::test_"
KEPT = "test_refused_and_kept.py::test_"

NODE = (
    ("05", "connections that say nothing, renewed as they are dropped", "1,100",
     "the oldest give way; others are served",
     "test_silent_peers.py::test_1100_connections_of_one_peer_keep_no_other_out"),
    ("05", "the same over TLS, before or in the handshake", "1,100", "handshakes have places of their own",
     "test_silent_peers.py::test_handshakes_that_go_no_further_keep_no_other_out"),
    ("05", "slow uploads of one client", "40", "they hold its share, and no thread",
     f"{GREEDY}slow_uploads_of_one_peer_keep_no_other_out"),
    ("05", "slow readers of a large answer", "200 half requests, 8 MB answers", "dropped when they stall",
     "test_slow_peers.py::test_slow_readers_of_images_starve_nobody_and_the_next_is_told_to_come_back "
     "test_slow_peers.py::test_200_half_sent_requests_keep_nobody_waiting_and_are_dropped"),
    ("05", "brisk readers of a large answer", "30", "they hold their peer's share; health has a thread of its own",
     f"{GREEDY}slow_readers_of_one_peer_keep_no_other_out"),
    ("05", "bodies byte by byte behind 15,500 header lines", "60 (8)", "431 over the limit of lines; parsed once",
     "test_dribbling.py::test_a_body_that_is_dribbled_behind_a_long_header_keeps_nobody_waiting "
     "test_dribbling.py::test_who_dribbles_is_dropped_at_the_deadline_though_it_goes_on_sending"),
    ("05", "connections broken off in eight ways", "5,000 (400)", "no descriptor, thread or file is left",
     f"{FLOOD}connections_that_are_broken_off_leave_neither_descriptor_nor_thread_nor_file"),
    ("08", "datagrams of audit records", "60,000 (3,000)", "each is kept or counted as dropped; TCP is served beside",
     f"{FLOOD}a_flood_of_datagrams_is_kept_or_counted_and_keeps_no_record_out "
     f"{LISTENERS}datagrams_that_the_kernel_drops_are_counted"),
    ("08", "idle syslog connections", "540 (60)", "the longest idle of who has most gives way",
     f"{FLOOD}crowds_at_the_audit_repository_keep_no_record_out {LISTENERS}idle_senders_keep_no_record_out"),
    ("11", "idle MLLP connections, silent or with a byte", "80 (40)", "the longest idle gives way",
     f"{FLOOD}crowds_at_the_feed_keep_nobody_from_feeding {LISTENERS}70_idle_peers_keep_nobody_from_feeding"),
    ("12", "refused queries of 30 MB", "3 of 30 MB (2 MB)", "kept by hash, length and beginning",
     f"{FLOOD}what_is_refused_for_its_length_is_not_kept"),
    ("12", "a query with 150,000 unknown slots", "one", "a query is 64 kB at most", "test_expansive_xml.py::"
     "test_a_query_of_another_form_or_without_measure_is_refused "
     f"{KEPT}a_query_over_its_limit_is_refused_and_kept_by_hash_length_and_beginning"),
    ("12", "ITI-43 of documents that are not there", "60,000 (3,000)", "XDSTooManyResults over 1,000; one record",
     f"{FLOOD}what_is_asked_for_beyond_measure_is_refused_and_not_kept"),
    ("12", "ITI-43 of one document again and again", "300 (100)", "given from disk each time; memory is bounded",
     f"{FLOOD}one_document_that_is_asked_for_many_times_is_not_held_in_memory"),
    ("12", "all patients by class or facility code, as entries and as ids", "one", "by nobody; and so many and no more",
     "access/test_policy.py::test_nobody_lists_all_patients_of_a_domain "
     "queries/test_find.py::test_over_the_limit_nothing_is_given"),
    ("12", "GetDocuments of 10,000 ids", "one",
     "refused", "test_injection.py::test_ten_thousand_ids_in_a_query_are_refused"),
    ("12", "120 LIKE patterns of 20 wildcards", "one", "answered or refused, in bounded time",
     "test_injection.py::test_patterns_of_many_wildcards_are_refused_or_answered_in_bounded_time"),
    ("12", "QIDO-RS with wildcards, odd ranges, huge limits", "one", "answered or 400",
     "test_injection.py::test_a_search_of_images_is_answered_or_refused_and_breaks_nothing"),
    ("12", "SQL and patterns in a patient's id", "one", "a value", "test_injection.py::"
     "test_an_id_of_a_patient_is_never_sql_nor_a_pattern queries/test_find.py::test_a_parameter_restricts_as_it_says"),
    ("12", "TLS 1.0 and 1.1, weak suites, a stranger's certificate", "one", "no handshake, at any listener",
     "test_old_tls.py::test_who_is_trusted_is_let_in_by_tls_1_2_and_1_3_alone "
     "test_old_tls.py::test_weak_suites_are_refused "
     "test_old_tls.py::test_nobody_and_a_stranger_of_the_same_name_are_refused"),
    ("12", "a stolen key", "one", "shut out within seconds of the CRL or deny list",
     "test_revoked_peers.py::test_a_revoked_peer_is_let_in_nowhere_and_what_it_has_open_ends"),
    ("13", "slow STOW-RS bodies over TLS, its path written otherwise too", "30", "they hold their peer's share",
     f"{GREEDY}slow_images_from_one_peer_keep_no_other_out"),
    ("13", "image paths written otherwise", "one", "where a request goes is decided after decoding",
     "wire/test_head.py::test_where_it_goes_is_decided_by_the_path_that_the_application_sees"),
    ("13", "three messages of 31 MB of empty elements at once", "3 of 31 MB (3 MB)",
     "200,000 elements, counted while parsing",
     f"{FLOOD}many_large_messages_of_small_elements_at_once_take_no_memory_for_all"),
    ("14", "readers that hold the places of ITI-43", "30", "a share for each peer",
     f"{GREEDY}slow_readers_of_one_peer_keep_no_other_out"),
    ("15", "one submission of thousands of documents", "6,500 (1,500)",
     "2,000 objects at most; others are answered meanwhile",
     f"{FLOOD}one_huge_submission_is_refused_while_others_are_answered"),
    ("16", "MLLP over TLS, without a handshake", "80", "places are taken after it",
     f"{LISTENERS}over_tls_80_peers_that_never_shake_hands_keep_nobody_from_feeding"),
    ("16", "syslog over TLS, without a handshake", "540", "places are taken after it",
     f"{LISTENERS}over_tls_540_peers_that_never_shake_hands_keep_no_record_out"),
    ("16", "C-STORE over TLS, without a handshake", "80", "places are taken after it",
     "test_dicom_listener.py::test_over_tls_80_peers_without_a_certificate_keep_nobody_out"),
)  # fmt: skip
