"""Images: instances, associations, and studies of others.  Rows of ``attacks.py``."""

from __future__ import annotations

STUDY, HEADERS, LISTENER = (
    "test_anothers_study.py::test_",
    "test_dicom_headers.py::test_",
    "test_dicom_listener.py::test_",
)

STUDIES = (
    ("06", "UIDs that read as paths, empty, too long, of other digits", "one", "no file elsewhere",
     "test_injection.py::test_a_uid_never_names_a_file_elsewhere"),
    ("06", "other bytes of a UID, another study's path, another patient", "one", "refused, the first stays",
     "endpoints/test_cstore.py::test_a_different_instance_of_the_same_uid_is_refused_and_recorded "
     "endpoints/dicomweb/test_store.py::test_an_instance_of_another_study_than_the_address_names_is_refused "
     f"{STUDY}an_instance_of_another_patient_is_refused_and_the_study_stays"),
    ("06", "a file header of another instance than the dataset", "one", "the dataset's own UID counts",
     "test_injection.py::test_an_instance_is_what_its_dataset_says_whatever_its_file_header_does"),
    ("06", "no file header, a preamble that is a program or a page", "one", "refused, or given out with zeros",
     "archives/test_intake.py::test_what_is_no_whole_dicom_file_is_refused "
     "test_preambles.py::test_a_preamble_that_is_no_tiff_is_given_out_as_zeros"),
    ("06", "sequences 2,000 deep", "one", "refused on the way down",
     "imaging/test_elements.py::test_what_is_nested_too_deeply_is_refused_on_the_way_down"),
    ("06", "200,000 empty items", "one", "refused at once, in bounded memory",
     f"{HEADERS}many_items_are_refused_at_once {HEADERS}many_items_cost_no_memory"),
    ("06", "scripts in a name", "one", "text", "test_injection.py::"
     "test_markup_of_a_title_or_of_an_image_is_text_on_every_page"),
    ("06", "a deflated bomb", "one", "costs its header, whatever it inflates to",
     f"{HEADERS}a_deflated_instance_costs_no_more_memory_than_its_header "
     f"{HEADERS}its_metadata_cost_no_more_than_the_longest_header"),
    ("06", "one frame asked for again and again", "one", "400",
     "test_many_identifiers.py::test_a_frame_is_not_asked_for_again_and_again"),
    ("06", "a picture of 64 million pixels", "64 million (4 million)", "drawn beside others, or refused",
     "test_floods.py::test_a_huge_picture_is_drawn_or_refused_while_others_are_answered"),
    ("06", "viewports and windows that are no numbers, frames and bulk data that are not there", "one", "400 or 404",
     "endpoints/dicomweb/test_windows.py::test_a_view_that_is_malformed_is_refused "
     "endpoints/dicomweb/test_service.py::test_what_is_not_here_is_not_found"),
    ("06", "a request that says it is 4 GB long", "one", "aborted by its length, 64 kB at most",
     f"{LISTENER}a_request_that_says_it_is_long_is_aborted_before_it_is_read "
     f"{LISTENER}megabytes_of_no_pdu_cost_no_memory"),
    ("06", "connections with half a PDU, or silent", "80 (20)", "they hold no association's place",
     "test_floods.py::test_crowds_at_the_image_listener_keep_no_modality_out "
     f"{LISTENER}who_begins_no_association_keeps_nobody_out"),
    ("06", "idle associations", "6, of 4 places", "they give way when there are too many of one peer",
     f"{LISTENER}idle_associations_give_way_when_there_are_too_many_of_one_peer"),
    ("06", "PDUs that are none, 100,000 presentation contexts", "one", "the association ends, the next is served",
     f"{LISTENER}within_an_association_a_pdu_longer_than_agreed_ends_it "
     f"{LISTENER}a_request_that_says_it_is_long_is_aborted_before_it_is_read"),
    ("06", "kill -9 in the midst of C-STORE, STOW-RS and ITI-41", "one", "what is left is swept at the next start",
     "test_leftovers.py::test_a_listener_killed_in_the_midst_of_an_instance_leaves_none_when_it_is_back "
     "test_left_behind.py::test_a_start_warns_of_what_others_may_read_and_sweeps_what_was_left "
     "test_killed.py::test_after_kill_9_what_was_acknowledged_is_there_and_the_rest_wholly_or_not_at_all"),
    ("07", "a rejection note by somebody else", "one",
     "refused", f"{STUDY}a_rejection_note_of_somebody_else_is_refused"),
    ("07", "the same SOP Instance UID in a study of one's own", "one", "the first stays where it is",
     f"{STUDY}the_very_same_instance_from_somebody_else_changes_nothing "
     f"{STUDY}an_instance_of_a_study_that_somebody_else_stored_is_refused"),
    ("07", "another patient's instance in the study", "one", "refused (0xA900), an alert; the study stays",
     f"{STUDY}an_instance_of_another_patient_is_refused_and_the_study_stays "
     f"{STUDY}what_is_refused_for_a_study_is_an_alert_and_stow_rs_says_why"),
    ("07", "an instance of another modality and date in a series", "one", "refused: the study is somebody else's",
     f"{STUDY}an_instance_of_a_study_that_somebody_else_stored_is_refused"),
    ("15", "an AE title that anybody may claim", "one", "held to the peer's certificate, refused or marked",
     "test_who_may_send.py::test_a_peer_that_calls_itself_another_application_entity_is_rejected "
     "test_who_may_send.py::test_a_title_that_is_not_the_peers_is_marked_where_the_policy_says_so"),
    ("17", "another patient's instance withdraws the published manifest", "one",
     "it is refused, so nothing is withdrawn",
     f"{STUDY}an_instance_of_another_patient_is_refused_and_the_study_stays"),
)  # fmt: skip
