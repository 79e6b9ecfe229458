package peers;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/**
 * HAPI's validator of R4 over files of one resource each, such as a Bundle, in JSON or in XML.
 *
 * <p>A line for each thing that is wrong: severity, file, place and message, with tabs between.  A last line says how
 * many files were read.  Codes are looked up in what FHIR R4 itself defines; no terminology server is asked.
 */
public final class Validate {
    private Validate() {}

    public static void main(String[] files) throws Exception {
        FhirContext fhir = FhirContext.forR4();
        ValidationSupportChain definitions = new ValidationSupportChain(
                new DefaultProfileValidationSupport(fhir),
                new CommonCodeSystemsTerminologyService(fhir),
                new InMemoryTerminologyServerValidationSupport(fhir));
        FhirValidator validator = fhir.newValidator();
        validator.registerValidatorModule(new FhirInstanceValidator(definitions));
        for (String file : files) {
            String resource = Files.readString(Path.of(file));
            for (SingleValidationMessage found : validator.validateWithResult(resource).getMessages()) {
                if (found.getSeverity() != ResultSeverityEnum.INFORMATION) {
                    print(file, found);
                }
            }
        }
        System.out.println("end\t" + files.length);
    }

    private static void print(String file, SingleValidationMessage found) {
        String message = String.valueOf(found.getMessage()).replaceAll("\\s+", " ");
        System.out.println(String.join("\t", found.getSeverity().getCode(), file, found.getLocationString(), message));
    }
}
