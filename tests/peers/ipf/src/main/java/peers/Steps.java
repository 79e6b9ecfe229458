package peers;

import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.stream.Stream;
import org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorCode;
import org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorInfo;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Response;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Status;

/** What was tried and how it went: a line a step, which the driver counts. */
final class Steps {
    private Steps() {}

    /** A step that holds if {@code sentence} does. */
    static void holds(String name, boolean sentence, Object seen) {
        String line = (sentence ? "ok " : "FAILED ") + name + (sentence ? "" : ": " + seen);
        System.out.println(line.replaceAll("\\s*[\\r\\n]+\\s*", " | "));
    }

    /** A request that succeeds; the answer, or null where it did not. */
    static <T extends Response> T succeeds(String name, Callable<T> request) {
        return answers(name, Status.SUCCESS, request);
    }

    /** A request whose answer has this status, and these error codes and no others. */
    static <T extends Response> T answers(String name, Status status, Callable<T> request, ErrorCode... codes) {
        try {
            T answer = request.call();
            List<ErrorCode> seen = codesOf(answer);
            boolean right = answer.getStatus() == status && seen.equals(Stream.of(codes).distinct().sorted().toList());
            holds(name, right, answer.getStatus() + " " + described(answer));
            return right ? answer : null;
        } catch (Exception problem) {
            holds(name, false, described(problem));
            return null;
        }
    }

    /** A request that succeeds, and whose answer has what is expected in it; the answer, or null. */
    static <T extends Response> T succeeds(String name, Callable<T> request, Object expected, Function<T, Object> part) {
        try {
            T answer = request.call();
            Object seen = answer.getStatus() == Status.SUCCESS ? part.apply(answer) : described(answer);
            holds(name, expected.equals(seen), seen + ", not " + expected);
            return expected.equals(seen) ? answer : null;
        } catch (Exception problem) {
            holds(name, false, described(problem));
            return null;
        }
    }

    /** A request that is refused as a whole, with these codes and no others. */
    static void refused(String name, Callable<? extends Response> request, ErrorCode... codes) {
        answers(name, Status.FAILURE, request, codes);
    }

    /** A step that holds if it ends without an exception. */
    static void passes(String name, Callable<?> step) {
        try {
            step.call();
            holds(name, true, null);
        } catch (Exception problem) {
            holds(name, false, described(problem));
        }
    }

    private static List<ErrorCode> codesOf(Response answer) {
        return answer.getErrors().stream().map(ErrorInfo::getErrorCode).distinct().sorted().toList();
    }

    private static List<String> described(Response answer) {
        return answer.getErrors().stream().map(e -> e.getErrorCode() + " (" + e.getCodeContext() + ")").toList();
    }

    private static String described(Throwable problem) {
        String own = problem.getClass().getSimpleName() + ": " + problem.getMessage();
        return problem.getCause() == null ? own : own + " < " + described(problem.getCause());
    }
}
