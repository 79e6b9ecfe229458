"""Who asks: peers, persons, accounts.  Rows of ``attacks.py``: script, attack, size, what happens now, tests."""

from __future__ import annotations

MATRIX = "test_who_may_what.py::test_only_whose_role_it_is_may"
XUA, WRAPPED = "wire/test_xua.py::test_", "test_wrapped_assertions.py::test_"
DESK, SIGNING = "endpoints/console/test_desk.py::test_", "endpoints/console/test_signing_in.py::test_"
OWNER = "only its own source, or an administrator of documents"

PEOPLE = (
    ("01", "find another's documents, confidentialityCode V too (ITI-18)", "one",
     "consumers find what their policy gives; V needs an override",
     f"{MATRIX}[ITI-18] access/test_policy.py::"
     "test_consumers_read_normal_with_a_role_restricted_with_an_override_very_restricted"),
    ("01", "list every patient by class code alone (ITI-51)", "one", "nobody may",
     f"{MATRIX}[ITI-51_of_all_patients] access/test_policy.py::test_nobody_lists_all_patients_of_a_domain"),
    ("01", "retrieve another's document (ITI-43)", "one", "what may not be seen is as absent",
     f"{MATRIX}[ITI-43] test_withheld_is_absent.py::"
     "test_a_document_that_is_withheld_is_answered_as_one_that_is_not_there"),
    ("01", "submit as another's sourceId (ITI-41)", "one", "refused: it is not the peer's own",
     f"{MATRIX}[ITI-41_with_the_owner's_sourceId] {MATRIX}[ITI-42_with_the_owner's_sourceId]"),
    ("01", "replace another's document (ITI-42, RPLC)", "one",
     "administrators only", f"{MATRIX}[ITI-42,_a_replacement]"),
    ("01", "deprecate another's document (ITI-57)", "one", OWNER, f"{MATRIX}[ITI-57]"),
    ("01", "alter another's entry: V to N, a title (ITI-92, ITI-57)", "one", OWNER, f"{MATRIX}[ITI-92]"),
    ("01", "destroy another's document (ITI-86)", "one", OWNER, f"{MATRIX}[ITI-86]"),
    ("01", "remove another's metadata (ITI-62)", "one", OWNER, f"{MATRIX}[ITI-62]"),
    ("01", "merge any patient into any other (ITI-44)", "one", "an identity source, within its authorities",
     f"{MATRIX}[ITI-44] access/test_policy.py::test_feeds_are_taken_from_whose_role_it_is"),
    ("01", "search and fetch images, read the audit log, by any certificate", "one", "by role only",
     f"{MATRIX}[RAD-129] {MATRIX}[RAD-107] {MATRIX}[RAD-55] {MATRIX}[ITI-81]"),
    ("01", "health, metrics and WSDL without a certificate over TLS", "one",
     "no handshake; otherwise they tell of nobody",
     "server/test_processes.py::test_a_client_without_a_certificate_or_with_anothers_is_refused "
     "test_who_may_what.py::test_what_tells_of_nobody_is_open"),
    ("02", "records of SOAP, DICOMweb, MLLP, C-STORE, syslog that do not name the certificate", "one",
     "each names subject, serial number and issuer", "test_named_in_records.py::test_a_query "
     "test_named_in_records.py::test_a_search_of_images_however_its_path_is_written "
     "test_named_in_records.py::test_a_feed_and_what_it_claims "
     "test_named_in_records.py::test_an_image_and_the_title_that_was_claimed "
     "test_named_in_records.py::test_a_record_of_another_node"),
    ("02", "refusals that name nobody", "one", "they name certificate and organisation", "test_who_may_what.py::"
     "test_whoever_is_refused_stands_in_the_record_by_certificate_and_organisation"),
    ("02", "the node's own address in records by the Host header", "one", "421 for every name but its own",
     "test_host_and_headers.py::test_another_name_is_told_nothing_at_any_address"),
    ("02", "the auditor's subject by another authority", "one", "a stranger",
     "access/test_peers.py::test_the_same_name_from_another_authority_is_a_stranger"),
    ("02", "one attribute that reads as two", "one", "a stranger: parsed names are compared",
     "wire/test_certificates.py::test_what_only_reads_like_a_name_is_another"),
    ("03", "wrapping, the eight ways and five more", "one", "refused; what was signed is all that is read",
     f"{WRAPPED}a_wrapped_assertion_vouches_for_nobody {WRAPPED}an_id_by_another_attribute_is_nobodys "
     f"{WRAPPED}a_forged_one_that_stands_elsewhere_is_not_read"),
    ("03", "unsigned, changed, two assertions, other tokens", "one", "refused",
     f"{XUA}an_assertion_without_a_signature_is_refused {XUA}a_changed_assertion_is_refused "
     f"{XUA}two_assertions_and_other_tokens_are_refused"),
    ("03", "comments, instructions and CDATA in a name", "one", "the name is read whole",
     f"{WRAPPED}a_name_is_read_whole_whatever_stands_in_it "
     f"{WRAPPED}a_comment_that_was_signed_does_not_cut_a_name_short"),
    ("03", "references elsewhere, two of them, XPointer, XSLT, XPath", "one", "refused",
     f"{WRAPPED}a_signature_of_anything_but_its_assertion_is_refused"),
    ("03", "a key by RetrievalMethod", "one", "not fetched", f"{WRAPPED}a_key_that_lies_elsewhere_is_not_fetched"),
    ("03", "a stranger's key, the issuer's certificate in KeyInfo, HMAC by the certificate", "one", "refused",
     f"{WRAPPED}a_stranger_that_names_the_issuers_certificate_is_refused "
     f"{WRAPPED}the_public_certificate_is_no_secret_to_sign_with"),
    ("03", "SHA-1, inclusive canonical form", "one", "refused",
     f"{WRAPPED}what_is_signed_in_an_old_way_is_refused {XUA}a_signature_of_another_form_is_refused"),
    ("03", "no audience, another, expired, not yet valid, year 9999, week dates", "one", "refused",
     f"{XUA}an_assertion_that_is_not_to_be_believed_is_refused {XUA}a_time_at_the_end_of_time_breaks_nothing "
     f"{XUA}an_assertion_for_nobody_in_particular_is_refused_where_an_audience_is_set "
     f"{XUA}an_assertion_that_lacks_what_it_needs_is_refused"),
    ("03", "valid for 70 years", "one", "15 minutes at most",
     f"{XUA}the_longest_life_is_counted_from_the_issue_and_a_shorter_confirmation_is_what_counts"),
    ("03", "another recipient or address, an unknown condition, no NotOnOrAfter", "one", "refused",
     f"{XUA}an_assertion_for_another_recipient_or_address_is_refused "
     f"{XUA}an_assertion_that_is_not_to_be_believed_is_refused"),
    ("03", "used again, OneTimeUse too", "one", "OneTimeUse once, in all processes; others until they end",
     f"{XUA}what_may_be_used_once_is_refused_the_second_time_and_where_nothing_can_be_kept "
     "access/test_users.py::test_what_may_be_used_once_is_refused_by_every_process_the_second_time"),
    ("03", "holder-of-key without proof, sender-vouches", "one", "refused",
     f"{XUA}an_assertion_of_a_keys_holder_is_worth_something_over_a_connection_of_that_key_alone"),
    ("03", "an issuer's name by another's certificate", "one", "refused",
     f"{XUA}an_issuer_with_certificates_of_its_own_is_believed_by_these_alone "
     "access/test_users.py::test_several_keys_must_each_say_for_whom_they_speak"),
    ("03", "700 kB", "one", "refused before it is canonicalised", f"{XUA}an_assertion_is_bounded"),
    ("03", "an override by anybody's word", "one", "by purpose, reason and person, with an alert",
     "access/test_gate.py::test_a_message_breaks_the_glass_with_a_reason_only "
     "access/test_users.py::test_an_emergency_override_is_an_alert_beside_the_retrieval_and_found_under_its_patient"),
    ("03", "images, console and STOW-RS without a person though one is required", "one",
     "401, or the node does not start",
     "access/test_bearers.py::test_a_person_who_is_required_is_required_at_every_address_that_gives_out_patient_data "
     "access/test_bearers.py::"
     "test_who_is_not_believed_is_answered_401_and_on_record_whether_a_person_must_be_named_or_not"),
    ("18", "signature in a forged assertion, the signed one in Object or Advice, with its id too", "one",
     "refused by the id that was signed", f"{WRAPPED}a_wrapped_assertion_vouches_for_nobody"),
    ("09", "pages before there is an account, and without a sign-in", "one",
     "closed; the command that makes one is named",
     f"{SIGNING}without_any_account_every_page_is_closed_and_says_by_which_command_the_first_is_made "
     f"{DESK}a_stranger_is_led_to_the_sign_in"),
    ("09", "images past the console's sign-in, by /dicomweb and /wado", "one",
     "under the same policy; no cookie counts there",
     f"{SIGNING}no_address_outside_the_console_takes_the_cookie_for_a_sign_in {MATRIX}[RAD-107]"),
    ("09", "a viewer at the auditor's desk", "one", "refused and on record",
     f"{DESK}a_viewer_does_not_see_the_log_nor_an_auditor_the_images"),
    ("09", "a session chosen beforehand, or kept after signing out", "one", "worth nothing",
     f"{DESK}who_signs_in_again_has_one_session {DESK}who_signs_out_is_a_stranger_again"),
    ("09", "forms without a token, with a planted cookie, from a neighbouring site", "one",
     "refused: bound to the session",
     f"{DESK}a_form_that_came_from_elsewhere_is_refused "
     f"{SIGNING}a_form_of_another_session_is_no_form_of_ours_whatever_cookie_somebody_has_planted "
     f"{SIGNING}by_https_cookies_are_named_so_that_no_neighbouring_host_can_set_them"),
    ("09", "redirects to elsewhere after signing in", "one", "of this node only",
     "test_injection.py::test_signing_in_leads_to_this_node_alone"),
    ("09", "cookies and headers", "one", "HttpOnly, Secure, SameSite, HSTS, no-store, nosniff",
     f"{DESK}a_session_cookie_is_for_this_site_alone_and_out_of_reach_of_scripts "
     "test_host_and_headers.py::test_every_reply_says_what_browsers_must_not_do_with_it"),
    ("09", "scripts in titles and in images", "one", "text", "test_injection.py::"
     "test_markup_of_a_title_or_of_an_image_is_text_on_every_page"),
    ("09", "locking somebody out by wrong passwords", "one", "they still sign in from where they have before",
     f"{SIGNING}who_guesses_is_kept_out_and_whose_password_it_is_signs_in_from_elsewhere"),
    ("09", "threads of wrong sign-ins", "30 (8)", "others sign in; memory is bounded, also in the first moment",
     "test_guessed_passwords.py::test_who_guesses_passwords_keeps_nobody_from_signing_in"),
    ("09", "a record for each wrong sign-in", "one", "a few, and a count",
     f"{SIGNING}of_a_hundred_failures_a_few_are_on_record_with_how_many_there_were"),
)  # fmt: skip
